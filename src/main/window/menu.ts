/** The application menu, as a table. */
import { app, dialog, Menu, shell } from 'electron'
import type { BrowserWindow, MenuItemConstructorOptions } from 'electron'
import { OPENED_EXTENSIONS, placeOfFile } from './places.ts'

const PAGES: readonly (readonly [label: string, place: string, key: string])[] = [
  ['Home', '#/home', '1'],
  ['Train', '#/train', '2'],
  ['Runs', '#/runs', '3'],
  ['Compare', '#/compare', '4'],
  ['Evaluate', '#/evaluate', '5'],
  ['Models', '#/models', '6'],
  ['Datasets', '#/datasets', '7'],
  ['Playground', '#/play', '8'],
  ['Reward', '#/reward', '9'],
  ['Settings', '#/settings', ',']
]

export function setMenu(window: () => BrowserWindow | null, go: (place: string) => void, workspace: string): void {
  const open = async (): Promise<void> => {
    const filters = [{ name: 'Models, recipes, data', extensions: [...OPENED_EXTENSIONS] }]
    const parent = window()
    const options = { properties: ['openFile' as const], filters }
    const { filePaths } = await (parent === null
      ? dialog.showOpenDialog(options)
      : dialog.showOpenDialog(parent, options))
    const place = filePaths[0] === undefined ? null : placeOfFile(filePaths[0])
    if (place !== null) go(place)
  }
  const template: MenuItemConstructorOptions[] = [
    ...(process.platform === 'darwin' ? [{ role: 'appMenu' as const }] : []),
    {
      label: 'File',
      submenu: [
        { label: 'Open…', accelerator: 'CmdOrCtrl+O', click: () => void open() },
        { label: 'Show workspace folder', click: () => void shell.openPath(workspace) },
        { type: 'separator' },
        { role: process.platform === 'darwin' ? 'close' : 'quit' }
      ]
    },
    { role: 'editMenu' },
    {
      label: 'Go',
      submenu: PAGES.map(([label, place, key]) => ({ label, accelerator: `CmdOrCtrl+${key}`, click: () => go(place) }))
    },
    {
      label: 'View',
      submenu: [
        { role: 'resetZoom' },
        { role: 'zoomIn' },
        { role: 'zoomOut' },
        { type: 'separator' },
        { role: 'togglefullscreen' },
        ...(app.isPackaged ? [] : [{ role: 'reload' as const }, { role: 'toggleDevTools' as const }])
      ]
    },
    { role: 'windowMenu' }
  ]
  Menu.setApplicationMenu(Menu.buildFromTemplate(template))
}
