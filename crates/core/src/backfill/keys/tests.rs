#![allow(clippy::unwrap_used)]
use super::inventory::{Inventory, seconds_of};
use super::*;
use crate::config::{Options, Side};
use proptest::prelude::*;

fn route(prefix: &str) -> Route {
    Route {
        name: "r".into(),
        source: Side { bucket: "from".into(), prefix: prefix.into(), ..Side::default() },
        destination: Side { bucket: "to".into(), ..Side::default() },
        options: Options::default(),
    }
}

/// All rows of a text that arrives in pieces of `piece` bytes.
fn read(mut rows: Rows, text: &[u8], piece: usize) -> Result<Vec<Row>, WrongRow> {
    let mut all = Vec::new();
    let mut pieces = text.chunks(piece.max(1));
    loop {
        match rows.next()? {
            Row::More => match pieces.next() {
                Some(piece) => rows.feed(piece),
                None => break,
            },
            row => all.push(row),
        }
    }
    rows.end();
    loop {
        match rows.next()? {
            Row::More => return Ok(all),
            row => all.push(row),
        }
    }
}

fn entries(rows: Rows, text: &[u8]) -> Vec<Listed> {
    let whole = read(rows, text, usize::MAX).unwrap();
    whole.into_iter().filter_map(|row| if let Row::Entry(listed) = row { Some(*listed) } else { None }).collect()
}

fn keys(rows: Rows, text: &str) -> Vec<String> {
    entries(rows, text.as_bytes()).into_iter().map(|listed| listed.object.key).collect()
}

fn wrong(rows: Rows, text: &[u8]) -> WrongRow {
    let error = read(rows, text, usize::MAX).unwrap_err();
    assert!(!error.told.is_empty());
    error
}

proptest! {
    #[test]
    fn what_is_written_as_csv_is_read_back(
        list in prop::collection::vec("[^\0]{1,20}", 0..20), piece in 1..50usize, crlf: bool, header: bool
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let quoted = |key: &String| format!("\"{}\",7", key.replace('"', "\"\""));
        let mut text: String = if header { format!("key,size{end}") } else { String::new() };
        text.push_str(&list.iter().map(quoted).collect::<Vec<_>>().join(end));
        let rows = read(Rows::csv(&route("")), text.as_bytes(), piece).unwrap();
        let found: Vec<String> = rows.into_iter().map(|row| match row {
            Row::Entry(listed) => listed.object.key,
            other => panic!("{other:?}"),
        }).collect();
        // A list whose first key is `key` has a header of it.
        let skipped = usize::from(!header && list.first().is_some_and(|key| key == "key"));
        prop_assert_eq!(found, &list[skipped..]);
    }

    #[test]
    fn what_is_written_as_json_is_read_back(list in prop::collection::vec("\\PC{1,20}", 0..20), piece in 1..50usize) {
        let text: String = list.iter().map(|key| serde_json::to_string(key).unwrap() + "\n").collect();
        let rows = read(Rows::json_lines(&route("")), text.as_bytes(), piece).unwrap();
        prop_assert_eq!(rows.len(), list.len());
        for (row, key) in rows.into_iter().zip(list) {
            let Row::Entry(listed) = row else { panic!() };
            prop_assert_eq!(listed.object.key, key);
        }
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in prop::collection::vec(any::<u8>(), 0..300), piece in 1..50usize) {
        let _ = read(Rows::csv(&route("")), &text, piece);
        let _ = read(Rows::json_lines(&route("")), &text, piece);
        let _ = Inventory::parse(&text, "from");
    }
}

#[test]
fn plain_keys_are_taken_as_they_are() {
    let csv = || Rows::csv(&route(""));
    assert_eq!(
        keys(csv(), "a%20b\n a+b \n/x//y/\n\n\"c,d\"\"e\",9\nlast"),
        ["a%20b", " a+b ", "/x//y/", "c,d\"e", "last"]
    );
    assert_eq!(keys(csv(), "\u{feff}key\na\n"), ["a"]);
    assert_eq!(keys(csv(), "\u{feff}\"a,b\"\n"), ["a,b"]);
    assert_eq!(keys(csv(), "a\nkey\n"), ["a", "key"]);
    assert_eq!(keys(csv(), "a"), ["a"]);
    assert_eq!(keys(csv(), ""), Vec::<String>::new());
}

#[test]
fn wrong_rows_of_csv_name_their_line() {
    let csv = || Rows::csv(&route("p/"));
    assert_eq!(wrong(csv(), b"key\np/a\nother\n").line, 3);
    assert_eq!(wrong(csv(), b"p/a\n\n\"p/b\nc\"\n,x\np/d\n").line, 5);
    assert_eq!(wrong(csv(), b"p/a\r\n\r\np/b\r\nq\r\n").line, 4);
    assert_eq!(wrong(csv(), b"p/a\np/\xff\n").line, 2);
    assert_eq!(wrong(csv(), format!("p/a\np/{}\n", "k".repeat(1_023)).as_bytes()).line, 2);
    let open = wrong(csv(), b"p/a\n\"p/b\np/c\n");
    assert_eq!(open.line, 2);
    assert!(open.told.contains("quote"), "{open}");
    let long = format!("p/a\n\"{}", "p/b\n".repeat(ROW_MAX_BYTES / 3));
    assert_eq!(wrong(csv(), long.as_bytes()).line, 2);
}

#[test]
fn json_lines_are_keys_or_objects() {
    let json = || Rows::json_lines(&route(""));
    let text = br#"
"a\u0000b"
{"bucket":"from","key":"c","size":5,"etag":"\"e\"","lastModified":"1970-01-02T00:00:00Z","more":1}
{"Key":"d","Size":6,"ETag":"\"f\"","LastModified":"1970-01-01T00:00:01+00:00"}"#;
    let found = entries(json(), text);
    assert_eq!(found[0].object.key, "a\0b");
    assert_eq!((found[1].object.size, found[1].modified), (Some(5), Some(86_400)));
    assert_eq!(found[1].object.etag, Some(ETag::new("e")));
    assert_eq!((found[2].object.size, found[2].modified), (Some(6), Some(1)));
    assert_eq!(found[2].object.bucket, "from");
}

#[test]
fn wrong_lines_of_json_name_their_line() {
    let json = || Rows::json_lines(&route("p/"));
    let after = |text: &str| wrong(json(), format!("\"p/a\"\n\n{text}\n").as_bytes());
    for (text, told) in [
        ("p/b", "neither"),
        ("7", "neither"),
        ("\"p/b\" 1", "trailing"),
        ("\"q\"", "prefix"),
        ("\"\"", "empty"),
        ("{\"size\":1}", "key"),
        ("{\"key\":\"p/a\",\"bucket\":\"other\"}", "other"),
        ("{\"key\":\"p/a\",\"size\":-1}", "-1"),
        ("{\"key\":\"p/a\",\"lastModified\":\"yesterday\"}", "yesterday"),
    ] {
        let error = after(text);
        assert!(error.line == 3 && error.told.contains(told), "{text}: {error}");
    }
    assert!(wrong(json(), &vec![b'x'; ROW_MAX_BYTES + 1]).told.contains("more than"));
}

const MANIFEST: &str = r#"{"sourceBucket":"from","destinationBucket":"arn:aws:s3:::lists","version":"2016-11-30",
    "creationTimestamp":"1514944800000","fileFormat":"CSV",
    "fileSchema":"Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass",
    "files":[{"key":"inv/data/1.csv.gz","size":5,"MD5checksum":"f11166069f1990abeb9c97ace9cdfabc"},{"key":"inv/data/2.csv.gz"}]}"#;

#[test]
fn an_inventory_lists_what_is_current() {
    let inventory = Inventory::parse(MANIFEST.as_bytes(), "from").unwrap();
    assert_eq!(inventory.objects, ["inv/data/1.csv.gz", "inv/data/2.csv.gz"]);
    let text = concat!(
        r#""from","p/a+b%2Bc%252F%C3%BC","v1","true","false","5","1970-01-02T00:00:00.000Z","e","GLACIER""#,
        "\n",
        r#""from","p/old","v0","false","false","5","1970-01-02T00:00:00.000Z","e","STANDARD""#,
        "\n",
        r#""from","p/gone","v2","true","true","","1970-01-02T00:00:00.000Z","","""#,
        "\n",
        r#""from","elsewhere","","","","","","","""#,
        "\n",
        r#""from","p/bare","","","","","","","""#,
        "\n",
    );
    let rows = read(Rows::inventory(&route("p/"), inventory.columns.clone()), text.as_bytes(), 7).unwrap();
    let [Row::Entry(first), Row::Passed, Row::Passed, Row::Passed, Row::Entry(last)] = &rows[..] else {
        panic!("{rows:?}")
    };
    assert_eq!(first.object.key, "p/a b+c%2Fü");
    assert_eq!((first.object.size, first.modified), (Some(5), Some(86_400)));
    assert_eq!((first.object.etag.clone(), first.storage_class.as_deref()), (Some(ETag::new("e")), Some("GLACIER")));
    assert_eq!(first.object.version_id, None, "what is copied is what is current");
    assert_eq!((last.object.size, last.modified, last.storage_class.clone()), (None, None, None));

    let columns = || Rows::inventory(&route(""), inventory.columns.clone());
    assert!(wrong(columns(), br#""other","k","","","","","","","""#).told.contains("other"));
    assert!(wrong(columns(), br#""from","k","","maybe","","","","","""#).told.contains("maybe"));
    assert!(wrong(columns(), br#""from","k","","","","many","","","""#).told.contains("many"));
    assert!(wrong(columns(), br#""from","k%FF","","","","","","","""#).told.contains("UTF-8"));
    assert!(wrong(columns(), br#""from""#).told.contains("columns"));
}

#[test]
fn other_inventories_are_refused() {
    let refused = |from: &str, to: &str| Inventory::parse(MANIFEST.replace(from, to).as_bytes(), "from").unwrap_err();
    assert!(refused("\"CSV\"", "\"ORC\"").contains("inventory configuration to CSV"));
    assert!(refused("\"sourceBucket\":\"from\"", "\"sourceBucket\":\"x\"").contains("\"x\""));
    assert!(refused(" Key,", "").contains("without the column Key"));
    assert!(refused("\"files\"", "\"objects\"").contains("files"));
}

#[test]
fn times_are_read() {
    for (text, seconds) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-03-01T00:00:00Z", 59 * 86_400),
        ("2000-02-29T23:59:59.999Z", 951_868_799),
        ("2021-03-04T05:06:07.000Z", 1_614_834_367),
        ("2021-03-04T05:06:07+01:30", 1_614_834_367 - 5_400),
        ("2021-03-04 05:06:07-01:00", 1_614_834_367 + 3_600),
        ("1969-12-31T23:59:59Z", -1),
        ("2100-12-31T00:00:00Z", 4_133_894_400),
    ] {
        assert_eq!(seconds_of(text), Ok(seconds), "{text}");
    }
    for text in
        ["", "2021-03-04", "2021-13-04T05:06:07Z", "2021-03-04T05:06Z", "2021-03-04T05:06:07", "ü021-03-04T05:06:07Z"]
    {
        assert!(seconds_of(text).is_err(), "{text}");
    }
}
