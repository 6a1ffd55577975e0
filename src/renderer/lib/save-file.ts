/** Hands text or a blob to the browser as a file to keep: to the downloads of the machine one sits at. */
export function saveFile(name: string, content: string | Blob, type = 'text/plain'): void {
  const blob = typeof content === 'string' ? new Blob([content], { type: `${type};charset=utf-8` }) : content
  const address = URL.createObjectURL(blob)
  const link = document.createElement('a')
  link.href = address
  link.download = name
  link.click()
  // After the download has taken the address.
  setTimeout(() => URL.revokeObjectURL(address), 10_000)
}

/** A title as a file name every system takes: letters, digits, hyphens. */
export const fileName = (title: string): string =>
  title
    .normalize('NFKD')
    .replace(/[^\p{L}\p{N}._-]+/gu, '-')
    .replace(/^[-.]+|-+$/g, '')
    .slice(0, 80) || 'reasonsmith'
