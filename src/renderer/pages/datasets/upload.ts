/** A dropped file on its way to the host: a browser tab has no path to give, so the bytes go in pieces. */

/** What one piece is sent with; `datasets.upload` of the contract. */
export type SendPiece = (piece: {
  name: string
  upload: string
  offset: number
  base64: string
  last: boolean
}) => Promise<{ path: string | null }>

/** 2 MiB: about 2.8 million characters as base64, under the contract's 6 million. A multiple of 3, so pieces join. */
export const PIECE_BYTES = 2 * 1024 * 1024 - ((2 * 1024 * 1024) % 3)

/**
 * Sends a file piece by piece and answers with where it lies on the host. `onShare` hears 0 to 1 after each piece.
 * An aborted signal ends it between two pieces with the signal's reason.
 */
export async function uploadFile(
  file: Pick<File, 'name' | 'size' | 'slice'>,
  send: SendPiece,
  onShare: (share: number) => void = () => {},
  signal?: AbortSignal,
  upload: string = crypto.randomUUID()
): Promise<string> {
  for (let offset = 0; ; offset += PIECE_BYTES) {
    signal?.throwIfAborted()
    const bytes = new Uint8Array(await file.slice(offset, offset + PIECE_BYTES).arrayBuffer())
    const last = offset + PIECE_BYTES >= file.size
    const { path } = await send({ name: file.name, upload, offset, base64: base64Of(bytes), last })
    onShare(file.size === 0 ? 1 : Math.min(1, (offset + bytes.length) / file.size))
    if (!last) continue
    if (path === null) throw new Error(`the host took ${file.name} but did not say where it lies`)
    return path
  }
}

/** Bytes as base64. `String.fromCharCode` takes its arguments on the stack, hence the stretches of 32 Ki. */
export function base64Of(bytes: Uint8Array): string {
  const parts: string[] = []
  for (let at = 0; at < bytes.length; at += 0x8000) {
    parts.push(String.fromCharCode(...bytes.subarray(at, at + 0x8000)))
  }
  return btoa(parts.join(''))
}
