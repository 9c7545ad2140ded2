//! A network of a worker's own, which is taken off the rest in one piece: nothing arrives any more, no connection
//! ends, and what was sent is sent again by the kernel, later each time.
//!
//! It takes the right to make network namespaces. Where that is missing, a [`Cutter`] holds back what passes.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::cutter::Cutter;
use super::world::{Process, World};

/// How many networks this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A worker's way to its server.
pub(crate) enum Way {
    /// From a network of its own.
    Island(Island),
    /// Through a port that holds back what passes.
    Cutter(Cutter),
}

/// A port on the shore, and the network that reaches nothing else. The port is closed first: it has its address from
/// the network.
pub(crate) struct Island {
    bridge: Cutter,
    network: Network,
}

/// A namespace, and the pair of devices that joins it to this one.
struct Network {
    namespace: String,
    /// The end on this side.
    device: String,
}

impl Way {
    /// To the server that a URL names, on the loopback: from an island where that is allowed.
    pub(crate) fn to(url: &str) -> Self {
        match Island::to(url) {
            Ok(island) => Self::Island(island),
            Err(refused) => {
                println!("no network of its own, a proxy holds back instead: {refused}");
                Self::Cutter(Cutter::to(url))
            }
        }
    }

    /// Starts a process of a world that reaches its store this way.
    pub(crate) fn start(&self, world: &World, role: &str, url: &str) -> Process {
        match self {
            Self::Island(island) => {
                let launcher = ["ip", "netns", "exec", &island.network.namespace];
                world.start_over(&launcher, role, &island.bridge.through(url))
            }
            Self::Cutter(cutter) => world.start_over(&[], role, &cutter.through(url)),
        }
    }

    /// From now on nothing passes.
    pub(crate) fn part(&self) {
        match self {
            Self::Island(island) => ip(&["link", "set", &island.network.device, "down"]).unwrap(),
            Self::Cutter(cutter) => cutter.silence(),
        }
    }

    /// What was held back passes again.
    pub(crate) fn join(&self) {
        match self {
            Self::Island(island) => ip(&["link", "set", &island.network.device, "up"]).unwrap(),
            Self::Cutter(cutter) => cutter.restore(),
        }
    }
}

impl Island {
    fn to(url: &str) -> Result<Self, String> {
        // Two bits of an address are one network; the range is the one that RFC 2544 keeps for measurements.
        let made = MADE.fetch_add(1, Ordering::SeqCst);
        let number = std::process::id().wrapping_mul(8).wrapping_add(made % 8) % (1 << 15);
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number * 4;
        let [here, there] = [1, 2].map(|n| Ipv4Addr::from(base + n).to_string());

        let namespace = format!("homing-{}-{made}", std::process::id());
        ip(&["netns", "add", &namespace])?;
        let network = Network { namespace, device: format!("hm{number}a") };
        network.lay(&format!("hm{number}b"), &here, &there)?;
        let bridge = Cutter::at(&here, url).map_err(|error| error.to_string())?;
        Ok(Self { bridge, network })
    }
}

impl Network {
    /// Joins the namespace to this one, by a device with an address on each side.
    fn lay(&self, peer: &str, here: &str, there: &str) -> Result<(), String> {
        let (here, there) = (format!("{here}/30"), format!("{there}/30"));
        let Self { namespace, device } = self;
        ip(&["link", "add", device, "type", "veth", "peer", "name", peer, "netns", namespace])?;
        ip(&["address", "add", &here, "dev", device])?;
        ip(&["link", "set", device, "up"])?;
        ip(&["-n", namespace, "address", "add", &there, "dev", peer])?;
        ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        ip(&["-n", namespace, "link", "set", peer, "up"])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Both ends of a pair go with one of them.
        let _ = ip(&["link", "delete", &self.device]);
        let _ = ip(&["netns", "delete", &self.namespace]);
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let done = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
    let done = done.map_err(|error| format!("ip: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr).trim()))
}
