//! Manifests with their outcomes: two listings of the work bucket, merged page by page.

use crate::clients::Clients;
use crate::error::StepError;
use longhaul_core::backfill::manifest::{manifest_name, manifests_prefix};
use longhaul_core::backfill::run::{item_of_outcome, outcomes_prefix};
use std::collections::VecDeque;

/// A manifest and the keys of its outcomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// The manifest's key.
    pub(crate) manifest: String,
    /// Attempts and keys of its outcomes, ascending.
    pub(crate) outcomes: Vec<(u32, String)>,
}

/// A listing, page by page.
struct Keys<'a> {
    clients: &'a Clients,
    prefix: String,
    after: Option<String>,
    page: VecDeque<String>,
    last: bool,
}

impl<'a> Keys<'a> {
    fn new(clients: &'a Clients, prefix: String, after: Option<String>) -> Self {
        Self { clients, prefix, after, page: VecDeque::new(), last: false }
    }

    async fn peek(&mut self) -> Result<Option<&String>, StepError> {
        while self.page.is_empty() && !self.last {
            let page = self.clients.work.page(&self.prefix, self.after.as_deref()).await?;
            self.last = page.last;
            self.page = page.objects.into_iter().map(|(key, _)| key).collect();
            // A page without an object that is not the last one would be read for ever.
            match self.page.back() {
                Some(key) => self.after = Some(key.clone()),
                None => self.last = true,
            }
        }
        Ok(self.page.front())
    }

    fn take(&mut self) -> Option<String> {
        self.page.pop_front()
    }
}

/// The groups of a run in the order of their manifests' names.
pub(crate) struct Groups<'a> {
    run: &'a str,
    manifests: Keys<'a>,
    outcomes: Keys<'a>,
    /// Outcomes that belong to no manifest, so far.
    pub(crate) strays: u64,
}

impl<'a> Groups<'a> {
    /// Those behind the manifest `after`.
    pub(crate) fn new(clients: &'a Clients, run: &'a str, after: Option<&str>) -> Self {
        // `0` is the character behind `/`: everything filed under the name sorts before it.
        let outcomes_after = after.map(|key| format!("{}{}0", outcomes_prefix(run), manifest_name(key)));
        Self {
            run,
            manifests: Keys::new(clients, manifests_prefix(run), after.map(str::to_owned)),
            outcomes: Keys::new(clients, outcomes_prefix(run), outcomes_after),
            strays: 0,
        }
    }

    /// The next groups, `most` of them or, at the end, fewer.
    pub(crate) async fn next(&mut self, most: usize) -> Result<Vec<Group>, StepError> {
        let mut groups = Vec::new();
        while groups.len() < most {
            self.manifests.peek().await?;
            let Some(manifest) = self.manifests.take() else { break };
            let outcomes = self.outcomes_of(manifest_name(&manifest)).await?;
            groups.push(Group { manifest, outcomes });
        }
        // At the very end, so that a later round does not count them again.
        if groups.is_empty() {
            while self.outcomes.peek().await?.is_some() {
                self.outcomes.take();
                self.strays += 1;
            }
        }
        Ok(groups)
    }

    async fn outcomes_of(&mut self, name: &str) -> Result<Vec<(u32, String)>, StepError> {
        let mut found = Vec::new();
        while let Some(key) = self.outcomes.peek().await? {
            let item = item_of_outcome(self.run, key);
            match item {
                Some((of, _)) if of > name => break,
                Some((of, attempt)) if of == name => found.extend(self.outcomes.take().map(|key| (attempt, key))),
                _ => {
                    self.outcomes.take();
                    self.strays += 1;
                }
            }
        }
        Ok(found)
    }
}
