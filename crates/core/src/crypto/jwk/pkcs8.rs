//! The numbers of an RSA key out of PKCS #8 (RFC 5208) around PKCS #1 (RFC 8017), the only form in which aws-lc gives
//! a private key away.

use der::{
    AnyRef, Decode as _, Reader as _, SliceReader,
    asn1::{OctetStringRef, UintRef},
};

/// `n`, `e`, `d`, `p`, `q`, `dp`, `dq` and `qi`, without leading zeros.
pub(super) fn numbers(document: &[u8]) -> Option<[&[u8]; 8]> {
    let key = SliceReader::new(document).ok()?.sequence(|reader| {
        u8::decode(reader)?;
        AnyRef::decode(reader)?;
        <&OctetStringRef>::decode(reader)
    });
    SliceReader::new(key.ok()?.as_bytes()).ok()?.sequence(all).ok()
}

fn all<'key>(reader: &mut SliceReader<'key>) -> der::Result<[&'key [u8]; 8]> {
    u8::decode(reader)?;
    let mut numbers = [&[][..]; 8];
    for number in &mut numbers {
        *number = UintRef::decode(reader)?.as_bytes();
    }
    Ok(numbers)
}
