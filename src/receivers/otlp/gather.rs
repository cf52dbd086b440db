//! Answers that become ready together, in one write.
//!
//! One sync of the log answers many requests. Each would write its own answer as soon as it runs, a system call and a
//! packet for a few bytes. So a connection that has something to write lets all that can run do so first.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;

/// A connection whose writes wait for what others write to it at the same time.
#[derive(Debug)]
pub(super) struct Gathered<I> {
    io: I,
    /// The others had their turn since the last flush.
    has_waited: bool,
}

impl<I> Gathered<I> {
    pub(super) fn new(io: I) -> Self {
        Self { io, has_waited: false }
    }

    /// Lets the others run once. On a busy runtime that ends after some 60 of them.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_waited {
            return Poll::Ready(());
        }
        self.has_waited = true;
        // It has kept the waker when it answers.
        pin!(yield_now()).poll(cx)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Gathered<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Gathered<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.wait(cx));
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.wait(cx));
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.has_waited = false;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::AsyncWriteExt as _;
    use tokio::sync::{Notify, oneshot};

    use super::*;

    /// Remembers each write.
    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl AsyncWrite for Writes {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// As a connection of HTTP/2 does: what is to be written grows while a write waits.
    async fn flush(io: &mut Gathered<Writes>, answers: &Mutex<Vec<u8>>) {
        std::future::poll_fn(|cx| {
            let mut answers = answers.lock().unwrap();
            while !answers.is_empty() {
                let written = ready!(Pin::new(&mut *io).poll_write(cx, &answers))?;
                answers.drain(..written);
            }
            Pin::new(&mut *io).poll_flush(cx)
        })
        .await
        .unwrap();
    }

    /// Each makes the connection run, and then the next: without waiting it would write between them.
    #[tokio::test]
    async fn answers_that_are_ready_together_are_one_write() {
        let (answers, ready) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let connection = tokio::spawn({
            let (answers, ready) = (Arc::clone(&answers), Arc::clone(&ready));
            async move {
                let mut io = Gathered::new(Writes::default());
                while io.io.0.iter().map(Vec::len).sum::<usize>() < 10 {
                    ready.notified().await;
                    flush(&mut io, &answers).await;
                }
                io.io.0
            }
        });
        let (first, mut turn) = oneshot::channel();
        for answer in 0..10 {
            let (answers, ready) = (Arc::clone(&answers), Arc::clone(&ready));
            let (next, turn_of_next) = oneshot::channel();
            let turn = std::mem::replace(&mut turn, turn_of_next);
            tokio::spawn(async move {
                turn.await.unwrap();
                answers.lock().unwrap().push(answer);
                ready.notify_one();
                next.send(()).ok();
            });
        }
        // All of them wait by then.
        yield_now().await;
        first.send(()).unwrap();
        assert_eq!(connection.await.unwrap(), [(0..10).collect::<Vec<u8>>()]);
    }

    #[tokio::test]
    async fn a_write_while_nothing_else_runs_waits_for_nobody() {
        let mut io = Gathered::new(Writes::default());
        tokio::time::timeout(std::time::Duration::from_secs(10), io.write_all(b"one")).await.unwrap().unwrap();
        io.flush().await.unwrap();
        io.write_all(b"two").await.unwrap();
        assert_eq!(io.io.0, [b"one", b"two"]);
    }
}
