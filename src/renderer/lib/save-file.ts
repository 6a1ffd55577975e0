/** Hands a text to the browser as a file to keep: to the downloads of the machine one sits at. */
export function saveFile(name: string, text: string, type = 'text/plain'): void {
  const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }))
  const link = document.createElement('a')
  link.href = address
  link.download = name
  link.click()
  // After the download has taken the address.
  setTimeout(() => URL.revokeObjectURL(address), 10_000)
}
