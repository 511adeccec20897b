//! Messages: known bytes, and arbitrary ones.

use proptest::prelude::*;

use super::*;

/// What `dig name` sends: recursion desired, one question, EDNS.
fn query(name: &str, rtype: u16) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(rtype.to_be_bytes());
    message.extend([0, 1]);
    message.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
    message
}

fn reply(query: &[u8], rcode: u8) -> Vec<u8> {
    let mut reply = query.to_vec();
    reply[2] |= 0x80;
    reply[3] = 0x80 | rcode;
    reply
}

#[test]
fn a_question_is_read_in_lower_case() {
    let Message::Query(question) = read(&query("Echo.Blue", rtype::AAAA)) else { panic!("no query") };
    assert_eq!(question.name, Name::parse("echo.blue"));
    assert_eq!((question.rtype, question.recursion_desired), (rtype::AAAA, true));
}

#[test]
fn what_is_no_plain_question_is_left_to_the_server_that_was_asked() {
    let mut update = query("example.com", rtype::SOA);
    update[2] = 5 << 3;
    let mut chaos = query("version.bind", rtype::TXT);
    let class = chaos.len() - 12;
    chaos[class] = 3;
    let mut two = query("a", rtype::A);
    two[5] = 2;
    let mut compressed = query("a", rtype::A);
    compressed[12] = 0xc0;
    compressed.extend([0; 300]);
    for message in [update, chaos, two, compressed, query("a", 1)[..16].to_vec()] {
        assert_eq!(read(&message), Message::Other, "{message:02x?}");
    }
    assert_eq!(read(&reply(&query("a", 1), 0)), Message::NoRequest);
    assert_eq!(read(&[0; 11]), Message::NoRequest);
}

#[test]
fn names_that_need_escaping_are_nobodys_but_the_servers() {
    for name in ["a b", "ä", "a\\b", "a\u{0}b"] {
        let Message::Query(question) = read(&query(name, rtype::A)) else { panic!("no query") };
        assert_eq!(question.name, None, "{name:?}");
    }
    let Message::Query(root) = read(&query("", rtype::NS)) else { panic!("no query") };
    assert_eq!(root.name, None);
}

#[test]
fn only_the_answer_to_the_question_is_one() {
    let asked = query("echo.example", rtype::A);
    let answer = reply(&asked, NOERROR);
    assert!(answers(&asked, 0x1234, &answer));
    assert!(answers(&asked, 0x1234, &reply(&query("ECHO.example", rtype::A), NOERROR)), "case may change");
    assert!(!answers(&asked, 0x1235, &answer), "another id");
    assert!(!answers(&asked, 0x1234, &asked), "a query");
    assert!(!answers(&asked, 0x1234, &reply(&query("echo.example", rtype::AAAA), NOERROR)), "another type");
    assert!(!answers(&asked, 0x1234, &reply(&query("echo.examplf", rtype::A), NOERROR)), "another name");
    let mut bare = reply(&asked, FORMERR)[..12].to_vec();
    bare[5] = 0;
    assert!(answers(&asked, 0x1234, &bare), "a server that did not understand");
    bare[3] = 0x80;
    assert!(!answers(&asked, 0x1234, &bare), "an answer without a question");
}

#[test]
fn a_failure_repeats_the_question_and_speaks_edns() {
    let asked = query("echo.example", rtype::A);
    let failed = failure(&asked, SERVFAIL);
    assert!(answers(&asked, 0x1234, &failed));
    assert_eq!((rcode(&failed), failed[11]), (Some(SERVFAIL), 1));
    assert_eq!(failed.len(), asked.len());
    let mut plain = asked[..asked.len() - 11].to_vec();
    plain[11] = 0;
    assert_eq!(failure(&plain, NXDOMAIN).len(), plain.len());
}

#[test]
fn fuzz_any_bytes_are_a_message_or_none() {
    bolero::check!().with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(message, other)| {
        let _ = read(message);
        let failed = failure(message, SERVFAIL);
        assert!(failed.len() >= 12);
        if let (Some(id), Message::Query(_)) = (id(message), read(message)) {
            assert!(answers(message, id, &failed));
        }
        let _ = answers(message, 0, other);
        let mut message = message.clone();
        set_id(&mut message, 7);
        assert_eq!(id(&message).unwrap_or(7), 7);
    });
}

proptest! {
    #[test]
    fn nearly_valid_messages_never_panic(flips in proptest::collection::vec((0usize..60, any::<u8>()), 0..6), cut in 0usize..60) {
        let mut message = query("db-0.db.default.svc.cluster.local", rtype::A);
        for (at, byte) in flips {
            if let Some(slot) = message.get_mut(at) {
                *slot = byte;
            }
        }
        message.truncate(message.len().saturating_sub(cut));
        let _ = read(&message);
        let failed = failure(&message, SERVFAIL);
        if let (Some(id), Message::Query(_)) = (id(&message), read(&message)) {
            prop_assert!(answers(&message, id, &failed));
        }
    }
}
