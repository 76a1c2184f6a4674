//! One run at a time: a lock the kernel frees when the process ends.
