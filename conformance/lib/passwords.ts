/** Passwords that servers tend to spoil, and what hashes of them look like. */

/** Passwords that are easily spoilt on the way: other normal forms, more than 72 bytes, a zero byte, spaces at the ends. */
export const ODD_PASSWORDS = [
  "Zoë 漢字 ﬁ Ⅷ pa\u0308ss",
  "72 bytes and then some: ".repeat(5).slice(0, 100),
  "before\u0000after the zero byte",
  "👩‍👩‍👧‍👦🔑👩🏽‍🚀🏴‍☠️🇺🇳",
  "   spaces \t at both ends   ",
];

/** What is stored for a password: upstream's format, and the two forms of Narthex's bcrypt. */
export const SCRYPT = /^[0-9a-f]{32}:[0-9a-f]{128}$/;
export const BCRYPT = /^(\$2b\$10\$.{53}|\$bcrypt-sha256\$v=2,t=2b,r=10\$.{22}\$.{31})$/;
