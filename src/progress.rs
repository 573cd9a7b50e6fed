//! How far a long piece of work has come, told to whoever watches.

/// Told of progress; the terminal's bar is one, silence another.
pub trait Progress: Sync {
    /// A step begins; `total` is what `advance` will sum to, where that is known.
    fn begin(&self, step: &str, total: Option<u64>);
    /// So much more is done.
    fn advance(&self, by: u64);
    /// The step is over.
    fn end(&self);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}
