/** The smallest GGUF that says which architecture it is and how long its context: a header, no tensors. */
export function tinyGgufHeader(contextTokens: number): Uint8Array {
  const bytes: Buffer[] = []
  const u32 = (value: number): void => {
    const buffer = Buffer.alloc(4)
    buffer.writeUInt32LE(value)
    bytes.push(buffer)
  }
  const u64 = (value: number): void => {
    const buffer = Buffer.alloc(8)
    buffer.writeBigUInt64LE(BigInt(value))
    bytes.push(buffer)
  }
  const text = (value: string): void => {
    u64(value.length)
    bytes.push(Buffer.from(value))
  }
  bytes.push(Buffer.from('GGUF'))
  u32(3) // version
  u64(0) // tensors
  u64(2) // metadata entries
  text('general.architecture')
  u32(8) // text
  text('llama')
  text('llama.context_length')
  u32(4) // uint32
  u32(contextTokens)
  return Buffer.concat([...bytes, Buffer.alloc(64)]) // up to the alignment of data that would follow
}
