//! Verbs about what people are told.

use std::fmt::Write as _;

use super::stage::{Said, Stage};
use super::verbs::{Arguments, need, refusal};
use crate::desk::notices;

impl Stage {
    /// `notices ID`: what an account (or `operator`) was told since it was last asked, oldest first.
    pub(super) fn notices(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let id = need(given, "an account")?;
        let account = Some(id).filter(|id| *id != "operator");
        let (db, config, now) = (&self.db, &self.config, self.now);
        let told = self.runtime.block_on(async {
            let told = notices::inbox(db, config, account, true, now).await?;
            notices::read(db, account, None, now).await?;
            Ok::<_, crate::desk::DeskError>(told)
        });
        let mut said = String::new();
        for message in told.map_err(refusal)?.iter().rev() {
            let at = self.zone().format_short(message.notice.at);
            let _ = writeln!(said, "{at}  {}: {}", message.notice.kind.as_str(), message.title);
        }
        Ok(said)
    }
}
