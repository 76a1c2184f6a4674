//! Some pieces of work at a time: a server is asked for several things at once, but not for hundreds.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

/// Does the work for all, at most so many at a time, begun in their order. What comes of each is given to `done`, on this thread, in the order in which they end.
pub(crate) fn each<T: Send, R: Send>(
    all: Vec<T>,
    at_once: usize,
    work: impl Fn(T) -> R + Sync,
    mut done: impl FnMut(R),
) {
    let workers = at_once.min(all.len());
    let queue = Mutex::new(VecDeque::from(all));
    let (sender, ends) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, queue, work) = (sender.clone(), &queue, &work);
            scope.spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(next) = next else { return };
                    if sender.send(work(next)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        ends.into_iter().for_each(&mut done);
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn everything_is_done_and_never_more_than_so_many_at_a_time() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |number: usize| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::yield_now();
            now.fetch_sub(1, Ordering::SeqCst);
            number
        };
        let mut ends = Vec::new();
        each((0..50).collect(), 3, work, |end| ends.push(end));
        ends.sort_unstable();
        assert_eq!(ends, (0..50).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= 3);
    }
}
