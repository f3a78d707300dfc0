//! Where the ledger of one process lies.

use longhaul_core::config::Side;
use longhaul_core::etag::Md5Digest;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Longest part of the name that a bucket gives, in characters: names of AWS buckets have at most 63.
const BUCKET_MAX_CHARS: usize = 63;

/// Where the ledger of a pair of sides lies: one database each, in `$XDG_STATE_HOME/longhaul/`, else in
/// `$HOME/.local/state/longhaul/`, else below the working directory. The same two sides always give the same name.
pub fn default_path(source: &Side, destination: &Side) -> PathBuf {
    state_directory(std::env::var_os("XDG_STATE_HOME"), std::env::home_dir()).join(name(source, destination))
}

/// A relative `XDG_STATE_HOME` is to be ignored: <https://specifications.freedesktop.org/basedir-spec/latest/>
fn state_directory(xdg_state_home: Option<OsString>, home: Option<PathBuf>) -> PathBuf {
    let state = xdg_state_home.map(PathBuf::from).filter(|state| state.is_absolute());
    state.unwrap_or_else(|| home.unwrap_or_default().join(".local").join("state")).join("longhaul")
}

fn name(source: &Side, destination: &Side) -> PathBuf {
    let mut identity = String::new();
    for side in [source, destination] {
        let (endpoint, region) = (side.endpoint.as_deref().unwrap_or(""), side.region.as_deref().unwrap_or(""));
        for field in [endpoint, &side.bucket, &side.prefix, region] {
            // The length keeps a prefix's end from being taken for the next field's beginning.
            identity += &format!("{}:{field}", field.len());
        }
    }
    let hash = Md5Digest::of(identity.as_bytes()).hex();
    let (from, to) = (readable(&source.bucket), readable(&destination.bucket));
    Path::new(&format!("{from}_{to}_{}.redb", &hash[..16])).to_owned()
}

/// Other stores allow bucket names that are no names on a disk.
fn readable(bucket: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '-' };
    bucket.chars().take(BUCKET_MAX_CHARS).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(bucket: &str, prefix: &str) -> Side {
        Side { bucket: bucket.into(), prefix: prefix.into(), ..Side::default() }
    }

    #[test]
    fn each_pair_of_sides_has_its_own_name() {
        let pairs = [
            (side("a", ""), side("b", "")),
            (side("b", ""), side("a", "")),
            (side("a", "x"), side("b", "")),
            (side("a", ""), side("b", "x")),
            (Side { region: Some("eu-west-1".into()), ..side("a", "") }, side("b", "")),
            (Side { endpoint: Some("https://store.example".into()), ..side("a", "") }, side("b", "")),
            (side("a", "1:b"), side("b", "")),
        ];
        let mut names = pairs.iter().map(|(from, to)| name(from, to)).collect::<Vec<_>>();
        assert_eq!(names[0], name(&pairs[0].0, &pairs[0].1));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), pairs.len());
    }

    #[test]
    fn a_name_stays_in_its_directory_and_short() {
        let odd = name(&side("../../etc/ü", "p"), &side(&"b".repeat(300), "p"));
        assert_eq!(odd.components().count(), 1);
        assert!(odd.as_os_str().len() < 200);
        assert!(odd.to_string_lossy().starts_with("..-..-etc--_bbb"));
    }

    #[test]
    fn the_state_directory_follows_the_environment() {
        let home = || Some(PathBuf::from("/home/somebody"));
        let expect = |xdg: Option<&str>, expected: &str| {
            assert_eq!(state_directory(xdg.map(OsString::from), home()), PathBuf::from(expected));
        };
        expect(Some("/state"), "/state/longhaul");
        expect(Some("relative"), "/home/somebody/.local/state/longhaul");
        expect(Some(""), "/home/somebody/.local/state/longhaul");
        expect(None, "/home/somebody/.local/state/longhaul");
        assert_eq!(state_directory(None, None), PathBuf::from(".local/state/longhaul"));
    }
}
