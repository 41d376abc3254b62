//! Whose request it is: the address that rate limits count and sessions remember.
//!
//! The socket's peer is the client. Only a peer that is a trusted proxy, as whoever was let in to a Unix socket is, is
//! asked for whom it speaks, and `x-forwarded-for` is then followed from the right, one vouched-for hop at a time, so
//! nothing that a client writes into the header can move the answer.
//!
//! Upstream: `utils/ip.ts` of the core package, which sees no socket and therefore believes any header
//! of a single hop. [`display`] writes what upstream stores.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    sync::Once,
};

use http::{HeaderMap, HeaderName, request::Parts};

use super::Peer;
use crate::config::Advanced;

#[cfg(test)]
const FORWARDED_FOR: &str = "x-forwarded-for";

/// How many leading bits of an IPv4 address that is written as IPv6 say just that.
const MAPPED_BITS: u8 = 96;

/// The proxies whose word about their clients is believed; loopback unless configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

impl TrustedProxies {
    /// Whether the address belongs to a trusted proxy.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl Default for TrustedProxies {
    fn default() -> Self {
        Self(vec![
            Network { address: Ipv4Addr::LOCALHOST.into(), bits: 8 },
            Network { address: Ipv6Addr::LOCALHOST.into(), bits: 128 },
        ])
    }
}

impl FromIterator<Network> for TrustedProxies {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

/// An address, or a range in CIDR notation such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// An entry that is neither an IP address nor a CIDR range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an IP address or a range such as 10.0.0.0/8")]
pub struct InvalidNetwork;

impl FromStr for Network {
    type Err = InvalidNetwork;

    /// Host bits may be set. The prefix of an IPv4 address in IPv6 form may count either form's bits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let address = written.to_canonical();
        let width = if address.is_ipv4() { 32 } else { 128 };
        let Some(prefix) = prefix else { return Ok(Self { address, bits: width }) };
        if !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidNetwork);
        }
        let bits: u8 = prefix.parse().map_err(|_| InvalidNetwork)?;
        let unmapped = if address == written { None } else { bits.checked_sub(MAPPED_BITS) };
        let bits = unmapped.unwrap_or(bits);
        if bits <= width { Ok(Self { address, bits }) } else { Err(InvalidNetwork) }
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let differing = match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (ours.to_bits() ^ theirs.to_bits()).leading_zeros(),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits() ^ theirs.to_bits()).leading_zeros(),
            _ => return false,
        };
        differing >= u32::from(self.bits)
    }
}

/// How the address of a client is found.
#[derive(Debug)]
pub(crate) struct ClientAddresses {
    trusted: TrustedProxies,
    headers: Vec<HeaderName>,
    ipv6_subnet: u8,
    pub(crate) is_tracking: bool,
    warned: Once,
}

impl ClientAddresses {
    pub(crate) fn new(options: &Advanced, problems: &mut Vec<String>) -> Self {
        let entries = options.trusted_proxies.as_ref().or(options.ip_address.trusted_proxies.as_ref());
        let mut parse = |entry: &String| {
            let network = entry.parse::<Network>();
            network
                .map_err(|error| problems.push(format!("advanced.trusted-proxies = {entry:?}: {error}")))
                .ok()
        };
        let trusted = match entries {
            Some(entries) => entries.iter().filter_map(&mut parse).collect(),
            None => TrustedProxies::default(),
        };
        let options = &options.ip_address;
        // Names that are none are reported with the other mistakes of the section.
        let headers = options.ip_address_headers.iter().filter_map(|name| name.parse().ok()).collect();
        Self {
            trusted,
            headers,
            ipv6_subnet: options.ipv6_subnet,
            is_tracking: !options.disable_ip_tracking,
            warned: Once::new(),
        }
    }

    /// The address a request came from; of IPv6 only what its sender cannot choose. Nothing when the request came
    /// over no socket, or when addresses are not to be looked at.
    pub(crate) fn of(&self, parts: &Parts) -> Option<IpAddr> {
        let client = match parts.extensions.get::<Peer>().filter(|_| self.is_tracking)? {
            // The file's permissions say who is trusted.
            Peer::Local => {
                told(&parts.headers, &self.headers, &self.trusted).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
            }
            Peer::Address(peer) => {
                let peer = peer.ip().to_canonical();
                if self.trusted.contains(peer) {
                    told(&parts.headers, &self.headers, &self.trusted).unwrap_or(peer)
                } else {
                    self.warn_of_stranger(peer, &parts.headers);
                    peer
                }
            }
        };
        Some(masked(client, self.ipv6_subnet))
    }

    /// A proxy that nobody has listed makes all clients one: they share its limits. Said once.
    fn warn_of_stranger(&self, peer: IpAddr, headers: &HeaderMap) {
        if !self.warned.is_completed() && self.headers.iter().any(|name| headers.contains_key(name)) {
            self.warned.call_once(|| {
                tracing::warn!(
                    "{peer} names a client it speaks for and is not believed; if it is a proxy of yours, set \
                     advanced.trusted-proxies = [\"{peer}\"]"
                );
            });
        }
    }
}

/// Whom a peer that is believed speaks for: every trusted proxy is replaced by the hop it names, until an address is no
/// trusted proxy, the header ends, or a hop is no IP address. The first header that names a hop counts.
fn told(headers: &HeaderMap, names: &[HeaderName], trusted: &TrustedProxies) -> Option<IpAddr> {
    names.iter().find_map(|name| followed(headers, name, trusted))
}

/// The furthest hop that a chain of trusted proxies vouches for.
fn followed(headers: &HeaderMap, name: &HeaderName, trusted: &TrustedProxies) -> Option<IpAddr> {
    let mut client = None;
    // By bytes: a client must not be able to spoil the whole line with a letter of its own.
    let lines = headers.get_all(name).into_iter().rev();
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops.map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty()) {
        if client.is_some_and(|client| !trusted.contains(client)) {
            break;
        }
        let Some(address) = parse_address(hop) else { break };
        client = Some(address.to_canonical());
    }
    client
}

fn masked(address: IpAddr, ipv6_subnet: u8) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let ours = u128::MAX.checked_shl(128 - u32::from(ipv6_subnet.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & ours).into()
        }
    }
}

fn parse_address(text: &[u8]) -> Option<IpAddr> {
    str::from_utf8(text).ok()?.parse().ok()
}

/// The address as sessions store it and rate limits count it: IPv6 in full.
pub(crate) fn display(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let groups = address.segments().map(|group| format!("{group:04x}"));
            groups.join(":")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use http::HeaderValue;
    use serde::Deserialize;

    use super::*;

    type Outcome = Result<(), Box<dyn Error>>;

    /// What upstream makes of these headers and entries. Written by running `getIPFromHeader` (without
    /// proxies for `single`, with `proxies` for `chains`) and `findInvalidTrustedProxies` of Better Auth
    /// 1.7.24.
    const UPSTREAM: &str = include_str!("testdata/client_ip.json");

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Where upstream misreads an address: header, ours. It takes the last four bytes of any eight-part
    /// spelling for IPv4, mixes decimal into hexadecimal, and knows the prefix in lower case only.
    const READ_CORRECTLY: [(&str, &str); 4] = [
        ("::ffff:0:1.2.3.4", "0000:0000:0000:0000:0000:0000:0000:0000"),
        ("1:2:3:4:5:ffff:1.2.3.4", "0001:0002:0003:0004:0000:0000:0000:0000"),
        ("::1:2:3:1.2.3.4", "0000:0000:0000:0001:0000:0000:0000:0000"),
        ("0000:0000:0000:0000:0000:FFFF:0102:0304", "1.2.3.4"),
    ];

    /// Where upstream gives up and we still know who vouched for whom: header, ours.
    const FOLLOWED_AS_FAR_AS_IT_GOES: [(&str, &str); 8] = [
        ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("1.2.3.4, bogus, 10.0.0.1", "10.0.0.1"),
        ("bogus, 10.0.0.1", "10.0.0.1"),
        ("unknown, 10.0.0.1", "10.0.0.1"),
        ("1.2.3.4, 10.0.0.1:80", "10.9.9.9"),
        ("1.2.3.4, unknown", "10.9.9.9"),
        ("", "10.9.9.9"),
    ];

    #[derive(Deserialize)]
    struct Corpus {
        single: Vec<(String, Option<String>)>,
        proxies: Vec<String>,
        chains: Vec<(String, Option<String>)>,
        networks: Vec<(String, bool)>,
    }

    fn corpus() -> Result<Corpus, serde_json::Error> {
        serde_json::from_str(UPSTREAM)
    }

    fn networks<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<TrustedProxies, InvalidNetwork> {
        entries.into_iter().map(str::parse::<Network>).collect()
    }

    fn shown(peer: IpAddr, lines: &[&[u8]], trusted: &TrustedProxies) -> Result<String, Box<dyn Error>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line)?);
        }
        let mut addresses = addresses(|_| {});
        addresses.trusted = trusted.clone();
        let mut request = http::Request::new(());
        request.extensions_mut().insert(Peer::Address((peer, 1).into()));
        *request.headers_mut() = headers;
        Ok(addresses.of(&request.into_parts().0).map(display).unwrap_or_default())
    }

    fn listed(list: &[(&'static str, &'static str)], header: &str) -> Option<&'static str> {
        list.iter().find(|(known, _)| *known == header).map(|(_, ours)| *ours)
    }

    #[test]
    fn a_single_hop_told_by_loopback_is_stored_as_upstream_stores_it() -> Outcome {
        let trusted = TrustedProxies::default();
        for (header, upstream) in corpus()?.single {
            let ours = shown(LOOPBACK, &[header.as_bytes()], &trusted)?;
            // Without an address upstream in development stores this, too.
            let upstream = upstream.unwrap_or_else(|| LOOPBACK.to_string());
            let expected = listed(&READ_CORRECTLY, &header).unwrap_or(&upstream);
            assert_eq!(ours, expected, "{header:?}");
        }
        Ok(())
    }

    #[test]
    fn a_chain_is_followed_as_upstream_follows_it() -> Outcome {
        let Corpus { proxies, chains, .. } = corpus()?;
        let trusted = networks(proxies.iter().map(String::as_str))?;
        let peer = "10.9.9.9".parse()?;
        for (header, upstream) in chains.into_iter().chain([(String::new(), None)]) {
            let ours = shown(peer, &[header.as_bytes()], &trusted)?;
            let further = listed(&FOLLOWED_AS_FAR_AS_IT_GOES, &header);
            assert_eq!(upstream.is_none(), further.is_some(), "{header:?}");
            assert_eq!(Some(ours.as_str()), upstream.as_deref().or(further), "{header:?}");
        }
        Ok(())
    }

    #[test]
    fn entries_are_accepted_as_upstream_accepts_them() -> Outcome {
        for (entry, is_valid) in corpus()?.networks {
            // Here 104 bits of the IPv6 form are 8 of the IPv4 form; upstream has no way to say it.
            let is_valid =
                is_valid || ["::ffff:10.0.0.0/104", "::ffff:10.0.0.0/128"].contains(&entry.as_str());
            assert_eq!(entry.parse::<Network>().is_ok(), is_valid, "{entry:?}");
        }
        Ok(())
    }

    #[test]
    fn the_corpus_is_complete() -> Outcome {
        let Corpus { single, proxies, chains, networks } = corpus()?;
        assert_eq!((single.len(), proxies.len(), chains.len(), networks.len()), (87, 3, 23, 45));
        Ok(())
    }

    #[test]
    fn a_stranger_cannot_speak_for_others() -> Outcome {
        let trusted = TrustedProxies::default();
        for peer in
            ["9.9.9.9", "10.0.0.1", "2001:db8::1", "::ffff:9.9.9.9", "126.255.255.255", "128.0.0.0", "::2"]
        {
            let peer: IpAddr = peer.parse()?;
            for header in ["1.2.3.4", "127.0.0.1", "1.2.3.4, 127.0.0.1", "::1", "bogus", ""] {
                let itself = display(masked(peer.to_canonical(), 64));
                assert_eq!(shown(peer, &[header.as_bytes()], &trusted)?, itself, "{peer} {header:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn what_a_client_writes_does_not_move_the_answer() -> Outcome {
        let trusted = networks(["127.0.0.0/8", "::1", "10.0.0.0/8"])?;
        let hostile: [&[u8]; 9] = [
            b"127.0.0.1",
            b"10.0.0.1, 10.0.0.2",
            b"\xff\xfe",
            "\u{e9}, \u{ff0c}".as_bytes(),
            b"bogus, , ,",
            b"6.6.6.6",
            b"1.2.3.4:80\t",
            b",,,,,,,,",
            &[b','; 10_000],
        ];
        for header in hostile {
            let appended = [header, b", 1.2.3.4"].concat();
            assert_eq!(shown(LOOPBACK, &[&appended], &trusted)?, "1.2.3.4", "{header:?}");
            assert_eq!(shown(LOOPBACK, &[header, b"1.2.3.4"], &trusted)?, "1.2.3.4", "{header:?}");
            assert_eq!(shown(LOOPBACK, &[&appended, b"10.0.0.7", b"10.0.0.8"], &trusted)?, "1.2.3.4");
        }
        Ok(())
    }

    fn request(
        peer: Option<&str>,
        headers: &[(&'static str, &'static str)],
    ) -> Result<Parts, Box<dyn Error>> {
        let mut request = http::Request::new(());
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        if let Some(peer) = peer {
            request.extensions_mut().insert(Peer::Address((peer.parse::<IpAddr>()?, 1).into()));
        }
        Ok(request.into_parts().0)
    }

    fn addresses(change: impl FnOnce(&mut Advanced)) -> ClientAddresses {
        let (mut options, mut problems) = (Advanced::default(), Vec::new());
        change(&mut options);
        let addresses = ClientAddresses::new(&options, &mut problems);
        assert_eq!(problems, [""; 0]);
        addresses
    }

    #[test]
    fn other_headers_and_missing_peers_say_nothing() -> Outcome {
        let others = ["forwarded", "x-real-ip", "x-client-ip", "cf-connecting-ip", "x-forwarded-host"];
        let mut headers: Vec<_> = others.map(|name| (name, "1.2.3.4")).to_vec();
        let ours = addresses(|_| {});
        assert_eq!(ours.of(&request(Some("127.0.0.1"), &headers)?), Some(LOOPBACK));
        headers.push((FORWARDED_FOR, "1.2.3.4"));
        assert_eq!(ours.of(&request(None, &headers)?), None);
        assert_eq!(ours.of(&request(Some("127.0.0.1"), &headers)?), Some("1.2.3.4".parse()?));
        let nobody = addresses(|options| options.trusted_proxies = Some(Vec::new()));
        assert_eq!(nobody.of(&request(Some("127.0.0.1"), &headers)?), Some(LOOPBACK));
        let blind = addresses(|options| options.ip_address.disable_ip_tracking = true);
        assert_eq!(blind.of(&request(Some("127.0.0.1"), &headers)?), None);
        Ok(())
    }

    #[test]
    fn whoever_was_let_in_to_a_unix_socket_is_believed_whatever_addresses_are() -> Outcome {
        let of = |trusted: &[&str], header: Option<&'static str>| -> Result<_, Box<dyn Error>> {
            let ours = addresses(|options| {
                options.trusted_proxies = Some(trusted.iter().map(|&entry| entry.to_owned()).collect());
            });
            let header = header.map(|header| (FORWARDED_FOR, header));
            let mut parts = request(None, header.as_slice())?;
            parts.extensions.insert(Peer::Local);
            Ok(ours.of(&parts))
        };
        for trusted in [&[][..], &["10.0.0.0/8"], &["127.0.0.0/8"]] {
            assert_eq!(of(trusted, None)?, Some(LOOPBACK), "it speaks for nobody");
            assert_eq!(of(trusted, Some("1.2.3.4"))?, Some("1.2.3.4".parse()?));
            assert_eq!(
                of(trusted, Some("6.6.6.6, 1.2.3.4"))?,
                Some("1.2.3.4".parse()?),
                "a client's own word"
            );
            assert_eq!(of(trusted, Some("bogus"))?, Some(LOOPBACK));
        }
        assert_eq!(of(&["10.0.0.0/8"], Some("1.2.3.4, 10.0.0.1"))?, Some("1.2.3.4".parse()?));
        assert_eq!(of(&[], Some("1.2.3.4, 10.0.0.1"))?, Some("10.0.0.1".parse()?));
        Ok(())
    }

    #[test]
    fn the_first_header_that_names_a_client_counts() -> Outcome {
        let ours = addresses(|options| {
            options.ip_address.ip_address_headers = vec!["X-Client-IP".to_owned(), FORWARDED_FOR.to_owned()];
        });
        for (first, second, expected) in [
            ("1.2.3.4", "5.6.7.8", "1.2.3.4"),
            ("", "5.6.7.8", "5.6.7.8"),
            ("unknown", "5.6.7.8", "5.6.7.8"),
            ("1.2.3.4", "", "1.2.3.4"),
            ("unknown", "unknown", "127.0.0.1"),
            ("127.0.0.1", "5.6.7.8", "127.0.0.1"),
            ("9.9.9.9, 1.2.3.4", "5.6.7.8", "1.2.3.4"),
        ] {
            let headers = [("x-client-ip", first), (FORWARDED_FOR, second)];
            assert_eq!(
                ours.of(&request(Some("127.0.0.1"), &headers)?),
                Some(expected.parse()?),
                "{headers:?}"
            );
            let stranger = ours.of(&request(Some("203.0.113.1"), &headers)?);
            assert_eq!(stranger, Some("203.0.113.1".parse()?), "{headers:?}");
        }
        Ok(())
    }

    #[test]
    fn of_ipv6_only_the_subnet_is_kept() -> Outcome {
        for (bits, expected) in [
            (0, "0000:0000:0000:0000:0000:0000:0000:0000"),
            (1, "8000:0000:0000:0000:0000:0000:0000:0000"),
            (48, "ffff:ffff:ffff:0000:0000:0000:0000:0000"),
            (56, "ffff:ffff:ffff:ff00:0000:0000:0000:0000"),
            (64, "ffff:ffff:ffff:ffff:0000:0000:0000:0000"),
            (127, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"),
            (128, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            let ours = addresses(|options| options.ip_address.ipv6_subnet = bits);
            let parts = request(Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), &[])?;
            assert_eq!(ours.of(&parts).map(display).as_deref(), Some(expected));
            let parts = request(Some("255.255.255.255"), &[])?;
            assert_eq!(ours.of(&parts).map(display).as_deref(), Some("255.255.255.255"));
        }
        Ok(())
    }

    #[test]
    fn an_ipv4_peer_on_an_ipv6_socket_is_the_same_peer() -> Outcome {
        let trusted = TrustedProxies::default();
        assert_eq!(shown("::ffff:127.0.0.1".parse()?, &[b"1.2.3.4"], &trusted)?, "1.2.3.4");
        assert_eq!(shown("::ffff:9.9.9.9".parse()?, &[b"1.2.3.4"], &trusted)?, "9.9.9.9");
        Ok(())
    }

    #[test]
    fn a_network_contains_exactly_its_range() -> Outcome {
        for (network, inside, outside) in [
            ("10.1.2.3/8", "10.255.255.255", "11.0.0.0"),
            ("10.0.0.0/31", "10.0.0.1", "10.0.0.2"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.0"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "ffff::", "1.2.3.4"),
            ("2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"),
            ("::1", "::1", "::2"),
            ("::ffff:10.0.0.0/8", "10.9.9.9", "::ffff:11.0.0.0"),
            ("::ffff:10.0.0.0/104", "::ffff:10.9.9.9", "11.0.0.0"),
        ] {
            let proxies = networks([network])?;
            assert!(proxies.contains(inside.parse()?), "{inside} in {network}");
            assert!(!proxies.contains(outside.parse()?), "{outside} in {network}");
        }
        Ok(())
    }
}
