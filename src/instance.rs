//! Which process this is, and whether another one still lives.
//!
//! A lease names its holder, so that people know whom to look for, and so that the next run on the
//! same machine need not wait for the lease of a process that was killed.

use std::fs;

use rustix::process::{Pid, getpid, test_kill_process};
use sha2::{Digest, Sha256};

/// The name of this process in leases: `billing-1 pid 4711 (..)`.
///
/// In the brackets stand what makes a process id mean the same process: the boot of the machine, the
/// process namespace, and when the process started.
pub fn name() -> String {
    let pid = getpid();
    format!("{} pid {} ({} {})", host(), pid.as_raw_nonzero(), realm(), started(pid).unwrap_or_default())
}

/// The machine's name.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A word that is the same on one machine at all times, and on others another; empty where the machine
/// has no id of its own, as in many containers. Not the id itself, which is for this machine alone.
pub fn machine() -> String {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    if id.trim().is_empty() {
        return String::new();
    }
    let digest = Sha256::digest(format!("quittance {}", id.trim()));
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The name without what only machines compare.
pub fn short(name: &str) -> &str {
    name.split(" (").next().unwrap_or(name)
}

/// Whether the process of this name is known to be dead. Where that can't be known, as on another
/// machine, it counts as living.
pub fn is_dead(name: &str) -> bool {
    known_dead(name).unwrap_or(false)
}

fn known_dead(name: &str) -> Option<bool> {
    let (who, life) = name.strip_suffix(')')?.split_once(" (")?;
    let (its_realm, its_start) = life.rsplit_once(' ')?;
    if its_realm != realm() || its_realm.contains('?') {
        return None;
    }
    let pid = Pid::from_raw(who.rsplit_once(" pid ")?.1.parse().ok()?)?;
    if test_kill_process(pid) == Err(rustix::io::Errno::SRCH) {
        return Some(true);
    }
    // Another process may have got its number since, and a killed one may not have been waited for.
    let start = started(pid)?;
    Some(start != its_start || is_zombie(pid))
}

/// The space in which process ids are unique: this boot of this machine, and the namespace.
fn realm() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let space: String = space.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    let known = |text: &str| if text.is_empty() { "?".to_owned() } else { text.to_owned() };
    format!("{} {}", known(boot.trim()), known(&space))
}

/// When a process started, in ticks since the boot.
fn started(pid: Pid) -> Option<String> {
    stat(pid)?.get(19).cloned()
}

fn is_zombie(pid: Pid) -> bool {
    let state = stat(pid).and_then(|fields| fields.first().cloned());
    matches!(state.as_deref(), Some("Z" | "X"))
}

/// The fields of `/proc/PID/stat` from the state on; the command's name before it may hold anything.
fn stat(pid: Pid) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let fields = text.rsplit_once(')')?.1;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_a_killed_one_does_not() {
        assert!(!is_dead(&name()), "{}", name());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let its = format!("host pid {} ({} {})", child.id(), realm(), started(pid).unwrap());
        assert!(!is_dead(&its), "{its}");
        child.kill().unwrap();
        while !is_zombie(pid) {
            std::thread::yield_now();
        }
        assert!(is_dead(&its), "killed and not waited for: {its}");
        child.wait().unwrap();
        assert!(is_dead(&its), "{its}");
    }

    #[test]
    fn a_process_with_a_number_that_was_used_before_is_another_one() {
        let mine = name();
        let earlier = mine.replace(&format!(" {})", started(getpid()).unwrap()), " 1)");
        assert_ne!(mine, earlier);
        assert!(is_dead(&earlier), "{earlier}");
    }

    #[test]
    fn nothing_is_known_of_processes_elsewhere() {
        let elsewhere = name().replace(&realm(), "another-boot 4026531836");
        for name in [elsewhere.as_str(), "", "host", "host pid x (? ? 5)", "host pid 4194303 (? ? 5)"] {
            assert!(!is_dead(name), "{name}");
        }
    }

    #[test]
    fn people_read_host_and_process_id() {
        assert_eq!(short("billing-1 pid 4711 (b7c2 4026531836 99)"), "billing-1 pid 4711");
    }
}
