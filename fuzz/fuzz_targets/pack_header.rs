//! Whatever the header of a pack holds, reading it does not panic, and what can be read is written the same.
#![no_main]

use holdall_fuzz::format::pack::{decode_header, encode_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &[u8]| {
    if let Ok(blobs) = decode_header(header) {
        assert_eq!(encode_header(&blobs), header);
    }
});
