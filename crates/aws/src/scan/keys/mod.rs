//! Lists of keys, read as a stream: from the work bucket, or from a bucket that the source's keys read.
//!
//! Memory stays at a few MiB, whatever the size of the list. The list must not change while a run reads it: a place in
//! it is a number of entries.

mod body;
mod text;

use self::body::Body;
use self::text::Text;
use crate::clients::Clients;
use crate::error::StepError;
use longhaul_core::backfill::keys::inventory::{Columns, Inventory, MANIFEST_MAX_BYTES};
use longhaul_core::backfill::keys::{Listed, Row, Rows};
use longhaul_core::backfill::manifest::Place;
use longhaul_core::backfill::request::{KeysFormat, KeysFrom};
use longhaul_core::config::Route;
use longhaul_core::request::ObjectRef;

/// An entry of a list of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// The object, with what the list says of it.
    pub object: ObjectRef,
    /// When it was last modified, in seconds since 1970, where the list says.
    pub modified: Option<i64>,
    /// Its storage class, where the list says.
    pub storage_class: Option<String>,
    /// Behind this entry: always [`Place::Line`].
    pub place: Place,
}

/// What comes next in a list of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRow {
    /// An entry.
    Entry(Box<KeyEntry>),
    /// Nothing but rows that are none of the route's, or the end of one of several objects: the list is read up to
    /// here.
    Passed(Place),
    /// Nothing but rows before the place behind which the reading began.
    Skipped,
}

/// Rows without an entry between two answers.
const ROWS_MAX: u32 = 10_000;

/// Reads a list of keys, or goes on with it.
#[derive(Debug)]
pub struct KeysReader {
    clients: Clients,
    route: Route,
    bucket: String,
    /// The keys of its objects: one, or the data objects of an inventory.
    objects: Vec<String>,
    form: Form,
    /// The object being read, and its entries read so far.
    object: usize,
    entry: u64,
    open: Option<(Text, Rows)>,
    /// The place behind which the reading begins, until it is reached.
    skip: Option<(usize, u64)>,
}

#[derive(Debug)]
enum Form {
    Csv,
    JsonLines,
    Inventory(Columns),
}

impl KeysReader {
    /// The entries behind `from`.
    ///
    /// Fails as `Rejected` where an inventory does not exist, or is of another bucket or in another form than CSV.
    pub async fn open(clients: &Clients, route: &Route, keys: &KeysFrom, from: Place) -> Result<Self, StepError> {
        let (object, behind) = match from {
            Place::Start => (0, 0),
            Place::Line { object, entry } => (object, entry),
            Place::Key(key) => return Err(StepError::bug(format!("a place at key {key:?} in a list of keys"))),
        };
        let form = match keys.format {
            KeysFormat::Csv => Form::Csv,
            KeysFormat::JsonLines => Form::JsonLines,
            KeysFormat::Inventory => Form::Inventory(Columns::default()),
        };
        let mut reader = Self {
            clients: clients.clone(),
            route: route.clone(),
            bucket: keys.bucket.clone(),
            objects: vec![keys.key.clone()],
            form,
            object: object as usize,
            entry: 0,
            open: None,
            skip: Some((object as usize, behind)),
        };
        if keys.format == KeysFormat::Inventory {
            let manifest = reader.manifest(&keys.key).await?;
            reader.objects = manifest.objects;
            reader.form = Form::Inventory(manifest.columns);
        }
        Ok(reader)
    }

    /// The next entry, or how far the list is read where many rows came without one; `None` at the end of the list.
    ///
    /// Fails as `Rejected` where the list does not exist or is shorter than the place behind which the reading began,
    /// and on a row that is no entry, naming object and line: nothing is left out silently.
    pub async fn next(&mut self) -> Result<Option<KeyRow>, StepError> {
        if let Some((object, behind)) = self.skip {
            for _ in 0..ROWS_MAX {
                if self.entry == behind {
                    self.skip = None;
                    break;
                }
                if self.row().await?.is_none() {
                    let key = self.objects.get(object).or(self.objects.last()).map_or("", String::as_str);
                    let told = "was longer when the run began: a list must not change while a run reads it";
                    return Err(StepError::rejected(format!("s3://{}/{key} {told}", self.bucket)));
                }
            }
            if self.skip.is_some() {
                return Ok(Some(KeyRow::Skipped));
            }
        }
        for _ in 0..ROWS_MAX {
            match self.row().await? {
                None if self.object >= self.objects.len() => return Ok(None),
                None => break,
                Some(None) => {}
                Some(Some(listed)) => {
                    let Listed { object, modified, storage_class } = *listed;
                    let place = self.place();
                    return Ok(Some(KeyRow::Entry(Box::new(KeyEntry { object, modified, storage_class, place }))));
                }
            }
        }
        Ok(Some(KeyRow::Passed(self.place())))
    }

    fn place(&self) -> Place {
        Place::Line { object: self.object as u32, entry: self.entry }
    }

    /// The next row of the object being read; `None` at its end, when the next object begins.
    async fn row(&mut self) -> Result<Option<Option<Box<Listed>>>, StepError> {
        let Some(key) = self.objects.get(self.object).cloned() else { return Ok(None) };
        let named = |error: StepError| {
            let message = format!("s3://{}/{key}: {}", self.bucket, error.message);
            StepError { message, ..error }
        };
        if self.open.is_none() {
            let body = Body::new(&self.clients, &self.route.source, &self.bucket, &key).await?;
            let rows = match &self.form {
                Form::Csv => Rows::csv(&self.route),
                Form::JsonLines => Rows::json_lines(&self.route),
                Form::Inventory(columns) => Rows::inventory(&self.route, columns.clone()),
            };
            self.open = Some((Text::of(body), rows));
        }
        let Some((text, rows)) = &mut self.open else { return Ok(None) };
        let mut ended = false;
        loop {
            let row = rows.next().map_err(|wrong| named(StepError::rejected(wrong.to_string())))?;
            match row {
                Row::Entry(listed) => {
                    self.entry += 1;
                    return Ok(Some(Some(listed)));
                }
                Row::Passed => {
                    self.entry += 1;
                    return Ok(Some(None));
                }
                Row::More if ended => break,
                Row::More => match text.piece().await.map_err(named)? {
                    Some(piece) => rows.feed(&piece),
                    None => {
                        rows.end();
                        ended = true;
                    }
                },
            }
        }
        self.open = None;
        self.object += 1;
        self.entry = 0;
        Ok(None)
    }

    async fn manifest(&self, key: &str) -> Result<Inventory, StepError> {
        let mut text = Text::of(Body::new(&self.clients, &self.route.source, &self.bucket, key).await?);
        let mut json = Vec::new();
        let refused = |told: String| StepError::rejected(format!("s3://{}/{key}: {told}", self.bucket));
        while let Some(piece) = text.piece().await? {
            json.extend_from_slice(&piece);
            if json.len() > MANIFEST_MAX_BYTES {
                return Err(refused(format!("a manifest of more than {MANIFEST_MAX_BYTES} bytes")));
            }
        }
        Inventory::parse(&json, &self.route.source.bucket).map_err(refused)
    }
}
