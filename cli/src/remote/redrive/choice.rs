//! Which failures are sent again.

use crate::args::redrive::RedriveArgs;
use longhaul_core::request::{Request, RequestError};

/// Which failures are sent again; everything where nothing is asked.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Names of errors; any where empty.
    pub only: Vec<String>,
    /// What source keys begin with.
    pub prefix: String,
    /// Messages sent at or after this, seconds since 1970.
    pub after: Option<i64>,
    /// Messages sent before this, seconds since 1970.
    pub before: Option<i64>,
    /// Most messages, or objects.
    pub most: Option<u64>,
}

/// What is done with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent again; the name of its failure.
    Taken(String),
    /// It was not asked for.
    Left,
    /// It is no request that could be carried out.
    Unreadable(RequestError),
}

impl Choice {
    /// As the options say.
    pub fn of(args: &RedriveArgs) -> Self {
        Self {
            only: args.only.clone(),
            prefix: args.prefix.clone().unwrap_or_default(),
            after: args.failed_after,
            before: args.failed_before,
            most: args.most,
        }
    }

    /// True if an object that failed under this name is taken.
    pub fn takes(&self, key: &str, failure: &str) -> bool {
        key.starts_with(&self.prefix) && (self.only.is_empty() || self.only.iter().any(|name| name == failure))
    }

    /// What is done with a message of the failed queue. `sent` is when it was sent, seconds since 1970.
    ///
    /// A message whose objects are named by a manifest has no key of its own: a prefix leaves it.
    pub fn verdict(&self, body: &str, sent: Option<i64>) -> Verdict {
        let value = serde_json::from_str(body).map_err(|error| RequestError(format!("no JSON: {error}")));
        let request = match value.and_then(|value: serde_json::Value| Request::from_value(&value)) {
            Ok(request) => request,
            Err(unreadable) => return Verdict::Unreadable(unreadable),
        };
        // A message whose age the queue does not tell is not known to be outside.
        let early = self.after.is_some_and(|after| sent.is_some_and(|sent| sent < after));
        let late = self.before.is_some_and(|before| sent.is_some_and(|sent| sent >= before));
        let name = request.failure.map_or_else(String::new, |failure| failure.name);
        let keys = request.objects.iter().map(|object| object.key.as_str());
        let manifests = request.manifests.iter().map(|_| "");
        let taken = !early && !late && keys.chain(manifests).all(|key| self.takes(key, &name));
        if taken { Verdict::Taken(name) } else { Verdict::Left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(key: &str, name: &str) -> String {
        json!({"objects": [{"bucket": "b", "key": key}], "failure": {"name": name, "message": "x"}, "execution": "e"})
            .to_string()
    }

    fn taken(choice: &Choice, body: &str, sent: Option<i64>) -> bool {
        matches!(choice.verdict(body, sent), Verdict::Taken(_))
    }

    #[test]
    fn names_prefixes_and_ages_choose() {
        let all = Choice::default();
        assert_eq!(all.verdict(&message("k", "Rejected"), None), Verdict::Taken("Rejected".into()));
        let only = Choice { only: vec!["TooSlow".into(), "States.Timeout".into()], ..Choice::default() };
        assert!(taken(&only, &message("k", "States.Timeout"), None));
        assert!(!taken(&only, &message("k", "States"), None));
        let prefix = Choice { prefix: "a/../".into(), ..Choice::default() };
        assert!(taken(&prefix, &message("a/../b", "x"), None));
        assert!(!taken(&prefix, &message("b", "x"), None));
        let ages = Choice { after: Some(100), before: Some(200), ..Choice::default() };
        for (sent, expected) in [(99, false), (100, true), (199, true), (200, false)] {
            assert_eq!(taken(&ages, &message("k", "x"), Some(sent)), expected, "{sent}");
        }
        assert!(taken(&ages, &message("k", "x"), None));
    }

    #[test]
    fn every_object_of_a_message_has_to_be_chosen() {
        let both = json!({"objects": [{"bucket": "b", "key": "a/1"}, {"bucket": "b", "key": "b/1"}]}).to_string();
        let manifest = json!({"manifests": [{"bucket": "w", "key": "m"}]}).to_string();
        let prefix = Choice { prefix: "a/".into(), ..Choice::default() };
        for body in [&both, &manifest] {
            assert!(taken(&Choice::default(), body, None));
            assert!(!taken(&prefix, body, None));
        }
    }

    #[test]
    fn what_cannot_be_carried_out_is_left_alone() {
        for body in ["", "{", "[]", "{}", r#"{"objects":[]}"#, r#"{"version":9,"objects":[{"bucket":"b","key":"k"}]}"#]
        {
            assert!(matches!(Choice::default().verdict(body, None), Verdict::Unreadable(_)), "{body}");
        }
    }
}
