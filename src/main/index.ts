/** The desktop entry: one window, nothing else yet. Wires, nothing else. */
import { app } from 'electron'
import { openWindow } from './window/window.ts'

app.on('window-all-closed', () => app.quit())
void app.whenReady().then(openWindow)
