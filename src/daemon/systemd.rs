//! What systemd is told. Without it, or where it does not listen, nothing happens.

use sd_notify::{NotifyState, notify};

pub fn ready() {
    tell(&[NotifyState::Ready]);
}

pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// Only the planner says so: a daemon whose planner hangs is not alive.
pub fn alive() {
    if sd_notify::watchdog_enabled().is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}

pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("letting runs finish")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = notify(states) {
        tracing::debug!("systemd could not be told: {error}");
    }
}
