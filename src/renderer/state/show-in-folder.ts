/** The desktop's file manager at a file or folder. In a browser tab there is none to open: nothing is offered. */
import { FolderOpen } from '@lucide/svelte'
import { api } from '../lib/api.ts'
import { desktop } from '../lib/connection.svelte.ts'
import { attempt } from './toasts.svelte.ts'

export const showsFolders = desktop !== undefined

export const showInFolder = async (path: string): Promise<void> =>
  void (await attempt(() => api.app.showInFolder({ path })))

/** As an entry of a menu; none where there is no desktop. */
export const inFolder = (
  path: string
): { readonly label: string; readonly icon: typeof FolderOpen; readonly onselect: () => unknown }[] =>
  showsFolders ? [{ label: 'Show in folder', icon: FolderOpen, onselect: () => showInFolder(path) }] : []
