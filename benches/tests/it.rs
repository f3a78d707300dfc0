//! The server as clients see it: over a socket, without an SDK between.

#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// A running server; it ends with the test.
struct Running {
    process: Child,
    address: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// An answer: status, headers in lower case, body.
struct Answer(u16, String, Vec<u8>);

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.2).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        let found = self.1.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("no {name} in {}", self.1))
    }
}

impl Running {
    fn start(options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_null-s3"));
        let mut process = command.args(options).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, address: line.trim().strip_prefix("http://").unwrap().to_owned() }
    }

    fn ask(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let mut head =
            format!("{line} HTTP/1.1\r\nhost: s3\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(&[head.as_bytes(), b"\r\n", body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        Answer(head[9..12].parse().unwrap(), head, answer.split_off(end + 4))
    }
}

fn crc64(bytes: &[u8]) -> String {
    STANDARD.encode(crc_fast::checksum(Crc64Nvme, bytes).to_be_bytes())
}

#[test]
fn a_copy_is_verified_and_a_wrong_one_found() {
    let source = Running::start(&["--side", "source", "--cases", "5-tiny"]);
    let destination = Running::start(&["--side", "destination"]);
    let keys: Vec<String> = (0..5).map(|number| format!("d0/o{number:06}")).collect();
    let listing = source.ask("GET /5-tiny?list-type=2", &[], b"");
    assert_eq!(listing.text().matches("<Key>").count(), 5);
    for key in &keys {
        let object = source.ask(&format!("GET /5-tiny/{key}"), &[], b"");
        let put = destination.ask(&format!("PUT /copy/{key}"), &[("if-none-match", "*")], &object.2);
        assert_eq!((put.0, put.header("etag")), (200, object.header("etag")));
    }
    let verify = || destination.ask("GET /_verify?bucket=copy&case=5-tiny", &[], b"").text().trim().to_owned();
    assert_eq!(verify(), r#"{"equal":5,"foreign":0,"missing":0,"wrong":0}"#);

    let line = format!("PUT /copy/{}", keys[4]);
    assert_eq!(destination.ask(&line, &[("if-none-match", "*")], b"other").0, 412);
    assert_eq!(destination.ask(&line, &[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], b"other").0, 400);
    assert_eq!(destination.ask(&line, &[("if-match", "\"another\"")], b"other").0, 412);
    assert_eq!(destination.ask(&line, &[], b"other").0, 200);
    assert_eq!(verify(), r#"{"equal":4,"foreign":0,"missing":0,"wrong":1}"#);
    assert_eq!(destination.ask("POST /_reset", &[], b"").0, 200);
    assert_eq!(verify(), r#"{"equal":0,"foreign":0,"missing":5,"wrong":0}"#);
}

#[test]
fn the_source_tells_its_parts_and_keeps_conditions() {
    let source = Running::start(&["--side", "source", "--cases", "one-64mib", "--checksums"]);
    let part = source.ask("HEAD /one-64mib/big.bin?partNumber=1", &[], b"");
    assert_eq!((part.0, part.header("x-amz-mp-parts-count"), part.header("content-length")), (206, "8", "8388608"));
    let whole = source.ask("HEAD /one-64mib/big.bin", &[("x-amz-checksum-mode", "ENABLED")], b"");
    assert_eq!((whole.0, whole.header("x-amz-checksum-type")), (200, "FULL_OBJECT"));
    let range = ("range", "bytes=67108860-");
    let end = source.ask("GET /one-64mib/big.bin", &[range, ("if-match", whole.header("etag"))], b"");
    assert_eq!((end.0, end.2.len(), end.header("content-range")), (206, 4, "bytes 67108860-67108863/67108864"));
    assert_eq!(source.ask("GET /one-64mib/big.bin", &[range, ("if-match", "\"x\"")], b"").0, 412);
    let stats = source.ask("GET /_stats", &[], b"");
    assert!(stats.text().contains(r#""requests":4"#), "{}", stats.text());
}

#[test]
fn trailing_checksums_decide() {
    let destination = Running::start(&["--side", "destination", "--kms"]);
    let algorithm = ("x-amz-checksum-algorithm", "CRC64NVME");
    let created = destination.ask("POST /b/k?uploads", &[algorithm], b"");
    assert_eq!(created.header("x-amz-checksum-algorithm"), "CRC64NVME");
    assert_eq!(created.header("x-amz-server-side-encryption"), "aws:kms");
    let id = created.text().split("<UploadId>").nth(1).unwrap().split('<').next().unwrap().to_owned();

    let bytes = b"nothing of the pattern";
    let line = format!("PUT /b/k?partNumber=1&uploadId={id}");
    let send = |checksum: &str| {
        let mut body = format!("{:x}\r\n", bytes.len()).into_bytes();
        body.extend_from_slice(bytes);
        body.extend_from_slice(format!("\r\n0\r\nx-amz-checksum-crc64nvme:{checksum}\r\n\r\n").as_bytes());
        let coding = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        let length = bytes.len().to_string();
        let trailer = ("x-amz-trailer", "x-amz-checksum-crc64nvme");
        destination.ask(&line, &[coding, trailer, ("x-amz-decoded-content-length", &length)], &body)
    };
    let wrong = send(&crc64(b"something else"));
    assert!(wrong.0 == 400 && wrong.text().contains("BadDigest"), "{}", wrong.text());
    let part = send(&crc64(bytes));
    assert_eq!((part.0, part.header("x-amz-checksum-crc64nvme")), (200, crc64(bytes).as_str()));
    let parts = destination.ask(&format!("GET /b/k?uploadId={id}"), &[], b"");
    assert!(parts.text().contains(&format!("<ChecksumCRC64NVME>{}</ChecksumCRC64NVME>", crc64(bytes))));

    let named = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        part.header("etag")
    );
    let complete = |headers: &[(&str, &str)]| {
        let answer = destination.ask(&format!("POST /b/k?uploadId={id}"), headers, named.as_bytes());
        (answer.0, answer.text().contains(&crc64(bytes)))
    };
    assert_eq!(complete(&[("x-amz-mp-object-size", "1")]), (400, false));
    assert_eq!(complete(&[("x-amz-checksum-crc64nvme", &crc64(b"another"))]), (400, false));
    assert_eq!(complete(&[("if-match", "\"x\"")]), (404, false));
    assert_eq!(complete(&[("x-amz-checksum-crc64nvme", &crc64(bytes)), ("if-none-match", "*")]), (200, true));
    assert_eq!(complete(&[]).0, 404);
}
