//! The overlay, without a device.
