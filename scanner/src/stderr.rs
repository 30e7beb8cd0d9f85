//! Stderr, written by a thread of its own.
//!
//! A log line never ends a run and never holds one up: a stderr that cannot be written (a full disk,
//! a reader that has gone) loses the line, and one that nobody reads fills a queue of fixed size,
//! after which lines are lost and counted.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::time::{Duration, Instant};

/// How many lines may wait.
const WAITING: usize = 1024;

enum LogMessage {
    Line(Vec<u8>),
    /// Everything before has been written; said to whoever asked.
    Flush(SyncSender<()>),
}

static QUEUE: OnceLock<Option<SyncSender<LogMessage>>> = OnceLock::new();
static LOST: AtomicU64 = AtomicU64::new(0);

fn get_message_queue() -> Option<&'static SyncSender<LogMessage>> {
    let start = || {
        let (queue, messages) = mpsc::sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("stderr".to_owned());
        thread.spawn(move || write_all(&messages, &mut io::stderr(), &LOST)).ok().map(|_| queue)
    };
    QUEUE.get_or_init(start).as_ref()
}

/// Has a line written. Never waits and never fails.
pub fn write(line: &[u8]) {
    match get_message_queue() {
        Some(queue) => offer(queue, line, &LOST),
        // Without a thread it is written here.
        None => drop(io::stderr().write_all(line)),
    }
}

/// Waits until everything is written, but no longer than `patience`.
pub fn flush(patience: Duration) {
    let Some(queue) = QUEUE.get().and_then(Option::as_ref) else { return };
    flush_queue(queue, patience);
}

fn offer(queue: &SyncSender<LogMessage>, line: &[u8], lost: &AtomicU64) {
    if queue.try_send(LogMessage::Line(line.to_vec())).is_err() {
        lost.fetch_add(1, Ordering::Relaxed);
    }
}

fn flush_queue(queue: &SyncSender<LogMessage>, patience: Duration) {
    let until = Instant::now() + patience;
    let (done, is_done) = mpsc::sync_channel(1);
    let mut message = LogMessage::Flush(done);
    loop {
        match queue.try_send(message) {
            Ok(()) => break,
            Err(TrySendError::Full(back)) if Instant::now() < until => {
                message = back;
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(_) => return,
        }
    }
    let _ = is_done.recv_timeout(until.saturating_duration_since(Instant::now()));
}

fn write_all(messages: &Receiver<LogMessage>, out: &mut dyn Write, lost: &AtomicU64) {
    while let Ok(message) = messages.recv() {
        match message {
            // A line that cannot be written is lost; the next one may find room.
            LogMessage::Line(line) => drop(out.write_all(&line)),
            LogMessage::Flush(done) => drop(done.try_send(())),
        }
        let lines = lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            tracing::warn!(lines, "log lines were lost, because they were not read in time");
        }
    }
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that does not read until it is allowed to.
    struct Stuck(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::Error::from(io::ErrorKind::BrokenPipe))
        }
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up() {
        let (allow, allowed) = mpsc::channel();
        let (written, lines) = mpsc::channel();
        let (queue, messages) = mpsc::sync_channel(4);
        let lost: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(0)));
        let thread =
            std::thread::spawn(move || write_all(&messages, &mut Stuck(allowed, written), lost));
        for n in 0..100 {
            offer(&queue, format!("{n}\n").as_bytes(), lost);
        }
        // Four wait, and one may be with the writer.
        assert!(lost.load(Ordering::Relaxed) >= 95);
        flush_queue(&queue, Duration::ZERO);
        drop(allow);
        drop(queue);
        assert!(thread.join().is_ok());
        assert_eq!(lines.recv().unwrap(), b"0\n");
        assert!((3..=4).contains(&lines.iter().count()));
    }

    #[test]
    fn a_stderr_that_cannot_be_written_is_no_end() {
        let (queue, messages) = mpsc::sync_channel(4);
        let lost = AtomicU64::new(0);
        offer(&queue, b"line\n", &lost);
        drop(queue);
        write_all(&messages, &mut Broken, &lost);
        assert_eq!(lost.load(Ordering::Relaxed), 0);
    }
}
