//! A network between two programs that can swallow what is sent, as a firewall does that lost its state: connections stay
//! open, nothing comes through, nobody is told.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How often a connection looks at the weather.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) struct Network {
    pub(crate) address: SocketAddr,
    weather: Arc<Weather>,
}

#[derive(Default)]
struct Weather {
    swallows: AtomicBool,
    /// Connections of an earlier age stay dead.
    age: AtomicU64,
}

impl Network {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, weather) = (listener.local_addr().unwrap(), Arc::new(Weather::default()));
        let shared = Arc::clone(&weather);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let weather = Arc::clone(&shared);
                std::thread::spawn(move || carry(client, server, &weather));
            }
        });
        Self { address, weather }
    }

    pub(crate) fn swallow(&self) {
        self.weather.age.fetch_add(1, Ordering::SeqCst);
        self.weather.swallows.store(true, Ordering::SeqCst);
    }

    /// New connections work again.
    pub(crate) fn mend(&self) {
        self.weather.age.fetch_add(1, Ordering::SeqCst);
        self.weather.swallows.store(false, Ordering::SeqCst);
    }
}

impl Weather {
    fn carries(&self, age: u64) -> bool {
        !self.swallows.load(Ordering::SeqCst) && self.age.load(Ordering::SeqCst) == age
    }
}

fn carry(client: TcpStream, server: SocketAddr, weather: &Arc<Weather>) {
    let age = weather.age.load(Ordering::SeqCst);
    // A server that is gone refuses: so does the network.
    let server = if weather.carries(age) { TcpStream::connect(server).ok() } else { None };
    let Some(server) = server else {
        while !weather.carries(age) && weather.swallows.load(Ordering::SeqCst) {
            std::thread::park_timeout(LOOK);
        }
        return;
    };
    let back = {
        let (server, client, weather) = (server.try_clone().unwrap(), client.try_clone().unwrap(), Arc::clone(weather));
        std::thread::spawn(move || pump(server, client, &weather, age))
    };
    pump(client, server, weather, age);
    drop(back.join());
}

/// Carries bytes one way until an end closes; holds them, and the connection open, while nothing comes through.
fn pump(mut from: TcpStream, mut to: TcpStream, weather: &Weather, age: u64) {
    from.set_read_timeout(Some(LOOK)).unwrap();
    let mut bytes = vec![0; 64 << 10];
    loop {
        if !weather.carries(age) {
            std::thread::park_timeout(LOOK);
            continue;
        }
        match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(length) if weather.carries(age) => {
                if to.write_all(&bytes[..length]).is_err() {
                    break;
                }
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    // The other end learns it, unless nothing comes through.
    drop((to.shutdown(std::net::Shutdown::Both), from.shutdown(std::net::Shutdown::Both)));
}
