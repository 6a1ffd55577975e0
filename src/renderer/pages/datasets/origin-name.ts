/** A file that was uploaded lies on the host under a name made unique: without that part it is the name a person knows. */
export const originName = (origin: string): string =>
  origin.replace(/(^|[\\/])[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-/, '$1')
