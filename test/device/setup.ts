/**
 * Runs before every test file of the projects `vulkan` and `gpu`: loads that device's build, so that `owner().backend()` is
 * the device, or skips each test with the reason.
 */
import { beforeEach } from 'vitest'
import { testDevice } from './test-device.ts'

const { missing } = testDevice()

beforeEach(({ skip }) => {
  if (missing !== null) skip(missing)
})
