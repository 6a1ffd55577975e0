/** What the page may see of the desktop: today its versions, later one port to the host. */
import { contextBridge } from 'electron'

contextBridge.exposeInMainWorld('desktop', { electron: process.versions['electron'], platform: process.platform })
