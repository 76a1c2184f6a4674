//! What each stage of the ingest engine costs by itself, on one core, without the others: `cargo bench --bench stages`.
//!
//! The sum of the stages is what a backup cannot be faster than; `doc/performance.md` compares it with what a whole backup takes. Each stage works on
//! the same 256 MiB, once incompressible and once compressible, and is measured five times; the median counts.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark talks to whoever runs it")]

use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::time::Instant;

use aes256ctr_poly1305aes::aead::AeadInPlace;
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce};
use fastcdc::v2020::{Normalization, cut_gear, get_gear_with_seed, select_masks};
use rand::Rng;
use sha2::{Digest, Sha256};

const SIZE: usize = 256 << 20;
const CHUNK: usize = 1 << 20;
const RUNS: usize = 5;

fn main() {
    let mut noise = vec![0; SIZE];
    rand::rng().fill_bytes(&mut noise);
    // Text of sixteen letters in random order: zstd makes about half of it.
    let text: Vec<u8> = noise.iter().map(|byte| b'a' + byte % 16).collect();

    let scratch = tempfile::Builder::new().tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = scratch.path().join("content");
    std::fs::write(&file, &noise).unwrap();
    let mut buffer = vec![0; 4 << 20];
    measure("read (from the kernel's cache)", || {
        let mut file = File::open(&file).unwrap();
        while file.read(&mut buffer).unwrap() > 0 {}
    });
    measure("cut (FastCDC)", || cut(&noise));
    measure("SHA-256 of the chunks", || {
        chunks(&noise, |chunk| {
            black_box(Sha256::digest(chunk));
        });
    });
    for (name, content) in [("incompressible", &noise), ("sixteen letters", &text)] {
        let mut compressor = zstd::bulk::Compressor::new(0).unwrap();
        let mut out = vec![0; 2 * CHUNK];
        measure(&format!("zstd, {name}"), || {
            chunks(content, |chunk| drop(black_box(compressor.compress_to_buffer(chunk, &mut out[..CHUNK - 1]))));
        });
    }
    let mut packs = noise.clone();
    measure("copy into the pack", || packs.copy_from_slice(black_box(&noise)));
    let cipher = Aes256CtrPoly1305Aes::new(&Key::default());
    measure("AES-256-CTR and Poly1305", || {
        for chunk in packs.chunks_mut(CHUNK) {
            black_box(cipher.encrypt_in_place_detached(&Nonce::default(), &[], chunk).unwrap());
        }
    });
    measure("SHA-256 of the packs", || {
        black_box(Sha256::digest(&packs));
    });
    measure("write, and wait for the disk", || {
        for (number, pack) in packs.chunks(16 << 20).enumerate() {
            let mut file = File::create(scratch.path().join(number.to_string())).unwrap();
            file.write_all(pack).unwrap();
            file.sync_all().unwrap();
        }
    });
}

fn cut(mut data: &[u8]) {
    let (small, large) = select_masks(1 << 20, Normalization::Level1);
    let (gear, shifted) = get_gear_with_seed(0x3d_a335_8b4d_c173);
    while !data.is_empty() {
        let (_, length) =
            cut_gear(data, 512 << 10, 1 << 20, 8 << 20, small, large, small << 1, large << 1, &gear, &shifted);
        data = &data[length..];
    }
}

fn chunks(data: &[u8], work: impl FnMut(&[u8])) {
    data.chunks(CHUNK).for_each(work);
}

fn measure(what: &str, mut work: impl FnMut()) {
    let mut seconds: Vec<f64> = (0..RUNS)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let rate = SIZE as f64 / 1e9 / seconds[RUNS / 2];
    println!("{what:32} {rate:6.2} GB/s {:6.2} s a GB", 1.0 / rate);
}
