/** The application menu, as a table. */
import { app, dialog, Menu, shell } from 'electron'
import type { BrowserWindow, MenuItemConstructorOptions } from 'electron'
import { placeOfFile } from './places.ts'

const PAGES: readonly (readonly [label: string, place: string, key: string])[] = [
  ['Home', '#/home', '1'],
  ['Train', '#/train', '2'],
  ['Runs', '#/runs', '3'],
  ['Evaluate', '#/evaluate', '4'],
  ['Models', '#/models', '5'],
  ['Datasets', '#/datasets', '6'],
  ['Playground', '#/play', '7'],
  ['Reward', '#/reward', '8'],
  ['Settings', '#/settings', '9']
]

export function setMenu(window: () => BrowserWindow | null, go: (place: string) => void, workspace: string): void {
  const open = async (): Promise<void> => {
    const filters = [
      { name: 'Models, recipes, data', extensions: ['gguf', 'yaml', 'yml', 'jsonl', 'json', 'csv', 'parquet'] }
    ]
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
