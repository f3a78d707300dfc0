use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use longhaul_testing::{Keys, s3_client_at};
use serde_json::{Value, json};

struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(args: &[&str]) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longhaul-test-s3"));
    let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addr = line.trim().strip_prefix("listening ").unwrap().parse().unwrap();
    Server { child, addr }
}

fn ask(addr: SocketAddr, method: &str, what: &str, body: &str) -> Value {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(
        stream,
        "{method} /_test/{what} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn two_commands_play_two_accounts() {
    const PART: usize = 5 * 1024 * 1024;
    let spec = format!("src:1:{}:big/:{PART}", PART + 9);
    let source = start(&["--generate", &spec, "--generate", "src:3:10"]);
    let sink = start(&[
        "--access-key",
        "other",
        "--secret-key",
        "secret",
        "--bucket",
        "dst",
        "--discard-bodies",
        "src:copy/:big/",
    ]);
    let from = s3_client_at(source.addr, &Keys::default());
    let keys = Keys { access_key: "other".to_owned(), secret_key: "secret".to_owned() };
    let to = s3_client_at(sink.addr, &keys);

    let get = from.get_object().bucket("src").key("big/000000").send().await.unwrap();
    let etag = get.e_tag().unwrap().to_owned();
    let bytes = get.body.collect().await.unwrap().into_bytes();
    let mut changed = bytes.to_vec();
    changed[PART] ^= 1;
    for (key, bytes) in [("copy/000000", bytes.clone()), ("copy/wrong", changed.into())] {
        let upload = to.create_multipart_upload().bucket("dst").key(key).send().await.unwrap();
        let id = upload.upload_id.unwrap();
        let mut parts = Vec::new();
        for (number, range) in [(1, 0..PART), (2, PART..bytes.len())] {
            let part = to.upload_part().bucket("dst").key(key).upload_id(&id).part_number(number);
            let part = part.body(ByteStream::from(bytes.slice(range))).send().await.unwrap();
            parts.push(CompletedPart::builder().part_number(number).e_tag(part.e_tag.unwrap()).build());
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = to.complete_multipart_upload().bucket("dst").key(key).upload_id(&id);
        complete.multipart_upload(parts).send().await.unwrap();
    }
    let head = to.head_object().bucket("dst").key("copy/000000").send().await.unwrap();
    assert_eq!(head.e_tag(), Some(etag.as_str()));
    let again = to.get_object().bucket("dst").key("copy/000000").send().await.unwrap();
    assert_eq!(again.body.collect().await.unwrap().into_bytes(), bytes);

    let state = ask(sink.addr, "GET", "state", "");
    let copied = &state["buckets"]["dst"]["copy/000000"];
    assert_eq!(copied, &json!({"size": PART + 9, "etag": etag.trim_matches('"'), "versions": 1}));
    assert_eq!(state["buckets"]["dst"]["copy/wrong"]["unequal"], true);
    assert_eq!(state["uploads"], json!({}));
    let requests = ask(sink.addr, "GET", "requests", "");
    let part = requests.as_array().unwrap().iter().find(|r| r["operation"] == "UploadPart").unwrap();
    assert_eq!((&part["bucket"], &part["partNumber"], &part["status"]), (&json!("dst"), &json!(1), &json!(200)));

    ask(source.addr, "POST", "reset-log", "");
    assert_eq!(ask(source.addr, "GET", "requests", ""), json!([]));
    let plan = r#"{"rules":[{"operation":"HeadObject","what":"resetBeforeRequest"}]}"#;
    assert_eq!(ask(source.addr, "POST", "faults", plan), json!({}));
    from.head_object().bucket("src").key("000002").send().await.unwrap();
    assert_eq!(ask(source.addr, "GET", "faults", ""), json!({"resetBeforeRequest": 1}));
    assert_eq!(ask(source.addr, "GET", "requests", "").as_array().unwrap().len(), 2);
    assert!(ask(source.addr, "POST", "faults", "{").get("error").is_some());
}
