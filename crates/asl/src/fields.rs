use serde_json::Value;

use crate::context;
use crate::error::DefinitionError;
use crate::json::Json;
use crate::path::Path;

/// The fields of one object of a definition, with its place for the errors.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'j> {
    state: String,
    inside: String,
    in_map: bool,
    entries: &'j [(String, Json)],
}

impl<'j> Fields<'j> {
    /// The fields of `json`, which is the object at `state`.
    pub(crate) fn of(state: &str, in_map: bool, json: &'j Json) -> Result<Self, DefinitionError> {
        Self::new(state.to_owned(), String::new(), in_map, json)
    }

    fn new(state: String, inside: String, in_map: bool, json: &'j Json) -> Result<Self, DefinitionError> {
        match json {
            Json::Object(entries) => Ok(Self { state, inside, in_map, entries }),
            _ => Err(DefinitionError { state, field: inside, message: "must be an object".to_owned() }),
        }
    }

    pub(crate) fn state(&self) -> &str {
        &self.state
    }

    pub(crate) fn in_map(&self) -> bool {
        self.in_map
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'j str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn error(&self, field: &str, message: impl Into<String>) -> DefinitionError {
        DefinitionError { state: self.state.clone(), field: self.place(field), message: message.into() }
    }

    fn place(&self, field: &str) -> String {
        match (self.inside.as_str(), field) {
            ("", field) => field.to_owned(),
            (inside, "") => inside.to_owned(),
            (inside, field) => format!("{inside}.{field}"),
        }
    }

    /// Refuses any field that is not `allowed`.
    pub(crate) fn only(&self, allowed: &[&str]) -> Result<(), DefinitionError> {
        match self.names().find(|name| !allowed.contains(name)) {
            Some(name) => Err(self.error(name, "outside the subset")),
            None => Ok(()),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'j Json> {
        self.entries.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub(crate) fn require(&self, name: &str) -> Result<&'j Json, DefinitionError> {
        self.get(name).ok_or_else(|| self.error(name, "is missing"))
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, DefinitionError> {
        match self.get(name) {
            None => Ok(None),
            Some(json) => match json.as_str() {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(self.error(name, "must be a string")),
            },
        }
    }

    pub(crate) fn require_text(&self, name: &str) -> Result<String, DefinitionError> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            Some(_) => Err(self.error(name, "must not be empty")),
            None => Err(self.error(name, "is missing")),
        }
    }

    /// An integer within `least..=most`.
    pub(crate) fn integer(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, DefinitionError> {
        let Some(json) = self.get(name) else { return Ok(None) };
        let number = match json {
            Json::Scalar(Value::Number(number)) => number.as_u64(),
            _ => None,
        };
        match number {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(self.error(name, format!("must be an integer from {least} to {most}"))),
        }
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>, DefinitionError> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Scalar(Value::Number(number))) => Ok(number.as_f64()),
            Some(_) => Err(self.error(name, "must be a number")),
        }
    }

    /// A path into the input or the context.
    pub(crate) fn path(&self, name: &str) -> Result<Option<Path>, DefinitionError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let path = Path::parse(&text).map_err(|error| self.error(name, error.to_string()))?;
        context::check(&path, self.in_map).map_err(|message| self.error(name, message))?;
        Ok(Some(path))
    }

    /// A path of which `null` is a value of its own; absent, it is `$`.
    pub(crate) fn path_or_null(&self, name: &str) -> Result<Option<Path>, DefinitionError> {
        match self.get(name) {
            Some(json) if json.is_null() => Ok(None),
            _ => Ok(Some(self.path(name)?.unwrap_or_else(Path::root))),
        }
    }

    /// A `ResultPath`: as [`Fields::path_or_null`], into the input only.
    pub(crate) fn result_path(&self) -> Result<Option<Path>, DefinitionError> {
        let path = self.path_or_null("ResultPath")?;
        if path.as_ref().is_some_and(Path::is_context) {
            return Err(self.error("ResultPath", "the context cannot be written"));
        }
        Ok(path)
    }

    /// The object under `name`.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Fields<'j>>, DefinitionError> {
        self.get(name).map(|json| Fields::new(self.state.clone(), self.place(name), self.in_map, json)).transpose()
    }

    /// The objects of the array under `name`; none if it is absent.
    pub(crate) fn objects(&self, name: &str) -> Result<Vec<Fields<'j>>, DefinitionError> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Json::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(index, json)| {
                    let inside = format!("{}[{index}]", self.place(name));
                    Fields::new(self.state.clone(), inside, self.in_map, json)
                })
                .collect(),
            Some(_) => Err(self.error(name, "must be an array")),
        }
    }
}
