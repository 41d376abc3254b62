/**
 * A random walk of several users with several browsers, and what each step must lead to.
 *
 * The walk depends on its seed and on the endpoints it may use, never on an answer: two runs with the same
 * seed ask for the same things. It keeps its own account of users, passwords and sessions and compares every
 * answer with it.
 */
import { KeyRing, toldKeys } from "./keys.ts";
import { ODD_PASSWORDS } from "./passwords.ts";
import { Jar, type Stage } from "./scenario.ts";
import type { Options } from "./types.ts";

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function randomness(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Client = ReturnType<Stage["client"]>;

interface User {
  name: string;
  email: string;
  password: string;
}

interface Session {
  user: User;
  token: string;
  /** All the cookies that came with it, as a browser sends them back. */
  cookie: string;
  alive: boolean;
  theme: string | null;
  visits: number;
}

interface Device {
  client: Client;
  /** Undefined while the browser has no cookie; the session may have ended elsewhere. */
  session: Session | undefined;
}

interface Answer {
  data: unknown;
  error: { status: number; code?: string } | null;
}

interface Move {
  endpoint: string;
  weight: number;
  /** Options without which the endpoint is closed, or has nothing to do. */
  needs?: Options;
  play: (walk: Walk) => Promise<void>;
}

const DEVICES = 5;

/** What an operator adds to sessions. */
const SESSION_FIELDS: Options = {
  theme: { type: "string", required: false },
  visits: { type: "number", required: true, defaultValue: 0 },
  device: { type: "string", required: false, input: false },
};

const PLUGINS: Options = { plugins: { jwt: {}, bearer: {} } };

export class Walk {
  readonly users: User[] = [];
  /** The last token that says who somebody is, whichever server made it. */
  token: string | undefined;
  /** How often each move was made. */
  readonly made = new Map<string, number>();
  private readonly sessions: Session[] = [];
  private readonly devices: Device[];
  private readonly random: () => number;
  private count = 0;

  constructor(
    readonly stage: Stage,
    seed: number,
    private readonly known: Set<string>,
  ) {
    this.random = randomness(seed);
    this.devices = Array.from({ length: DEVICES }, () => ({ client: stage.client(), session: undefined }));
  }

  /** A few users, each signed in on one device. */
  async begin(): Promise<void> {
    for (const device of this.devices.slice(0, 3)) await this.signUp(device);
  }

  /** One more user, whatever the dice say. */
  arrival(): Promise<void> {
    return this.signUp(this.device());
  }

  async step(): Promise<void> {
    const open = Object.entries(MOVES).filter(([, move]) => this.known.has(move.endpoint));
    let point = this.random() * open.reduce((sum, [, move]) => sum + move.weight, 0);
    const [name, move] = open.find(([, { weight }]) => (point -= weight) < 0) ?? (open[0] as [string, Move]);
    this.made.set(name, (this.made.get(name) ?? 0) + 1);
    try {
      await move.play(this);
    } catch (error) {
      throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  chance(share: number): boolean {
    return this.random() < share;
  }

  pick<T>(items: T[]): T {
    if (items.length === 0) throw new Error("nothing to choose from");
    return items[Math.floor(this.random() * items.length)] as T;
  }

  newPassword(): string {
    this.count += 1;
    return this.chance(0.4) ? `${this.pick(ODD_PASSWORDS)} ${this.count}` : `plain password ${this.count}`;
  }

  /** Mostly one that is signed in; now and then one whose session has ended, or that never had one. */
  device(): Device {
    const signedIn = this.devices.filter(({ session }) => session?.alive);
    return signedIn.length > 0 && this.chance(0.85) ? this.pick(signedIn) : this.pick(this.devices);
  }

  living(user: User): Session[] {
    return this.sessions.filter((session) => session.alive && session.user === user);
  }

  anySession(): Session {
    return this.pick(this.sessions.slice(-40));
  }

  end(sessions: Session[]): void {
    for (const session of sessions) session.alive = false;
  }

  /** The device now holds the session that the last reply made. */
  began(device: Device, user: User, token: unknown): void {
    this.expect(typeof token === "string" && token.length === 32, `a token: ${JSON.stringify(token)}`);
    const reply = this.stage.steps.findLast((step) => step.kind === "exchange");
    const jar = new Jar();
    jar.take(reply?.kind === "exchange" ? reply.response.headers : []);
    device.session = { user, token: String(token), cookie: jar.header, alive: true, theme: null, visits: 0 };
    this.sessions.push(device.session);
  }

  async signUp(device: Device): Promise<void> {
    const number = ++this.count;
    const user = { name: `Walker ${number}`, email: `walker${number}@example.com`, password: this.newPassword() };
    const typed = this.chance(0.3) ? user.email.toUpperCase() : user.email;
    const answer = await this.stage.result(device.client.signUp.email({ ...user, email: typed }));
    this.expect(answer.data?.user.email === user.email, `sign-up: ${JSON.stringify(answer)}`);
    this.users.push(user);
    this.began(device, user, answer.data?.token);
  }

  async signIn(device: Device, user: User): Promise<void> {
    const rememberMe = this.chance(0.7);
    const email = this.chance(0.2) ? user.email.toUpperCase() : user.email;
    const answer = await this.stage.result(device.client.signIn.email({ email, password: user.password, rememberMe }));
    this.expect(answer.data?.user.name === user.name, `${user.email} signs in: ${JSON.stringify(answer)}`);
    this.began(device, user, answer.data?.token);
    this.expect((device.session?.cookie.includes("dont_remember") ?? false) === !rememberMe, "the browser is told whether to remember");
  }

  expect(condition: boolean, message: string): void {
    if (!condition) throw new Error(message);
  }

  /** What the operator added to the session is as it was last changed, wherever that was. */
  holds(session: Session, answered: object | undefined): void {
    const { theme = null, visits } = (answered ?? {}) as { theme?: unknown; visits?: unknown };
    this.expect(theme === session.theme && visits === session.visits, `the session has ${session.theme} and ${session.visits}: ${JSON.stringify(answered)}`);
  }

  refused(answer: Answer, status: number, code?: string): void {
    const holds = answer.error?.status === status && (code === undefined || answer.error.code === code);
    this.expect(holds, `expected ${status} ${code ?? ""}, got ${JSON.stringify(answer)}`);
  }

  /** Whether the device may go on: without a living session the answer must be 401. */
  allowed(device: Device, answer: Answer): boolean {
    if (device.session?.alive) {
      this.expect(answer.error === null, `expected success, got ${JSON.stringify(answer)}`);
      return true;
    }
    this.refused(answer, 401);
    return false;
  }
}

const MOVES: { [name: string]: Move } = {
  "is it up": {
    endpoint: "GET /ok",
    weight: 1,
    play: async (walk) => {
      const answer = await walk.stage.result(walk.device().client.$fetch<{ ok: boolean }>("/ok"));
      walk.expect(answer.data?.ok === true, JSON.stringify(answer));
    },
  },
  "look at the session": {
    endpoint: "GET /get-session",
    weight: 14,
    play: async (walk) => {
      const device = walk.device();
      const answer = await walk.stage.result(device.client.getSession());
      const session = device.session?.alive ? device.session : undefined;
      walk.expect(answer.error === null && answer.data?.session.token === session?.token, `the session is ${session?.token}: ${JSON.stringify(answer)}`);
      walk.expect(answer.data?.user.name === session?.user.name, `the user is ${session?.user.name}: ${JSON.stringify(answer)}`);
      if (session) walk.holds(session, answer.data?.session);
      if (!session) device.session = undefined;
    },
  },
  "come back with a cookie of before": {
    endpoint: "GET /get-session",
    weight: 6,
    play: async (walk) => {
      const session = walk.anySession();
      const reply = await walk.stage.get("/get-session", { cookie: session.cookie });
      walk.expect(reply.status === 200 && reply.json?.user.email === (session.alive ? session.user.email : undefined), `${session.user.email}, ${session.alive ? "alive" : "ended"}: ${reply.text}`);
    },
  },
  "sign up": { endpoint: "POST /sign-up/email", weight: 6, play: (walk) => walk.signUp(walk.device()) },
  "sign up with a taken address": {
    endpoint: "POST /sign-up/email",
    weight: 2,
    play: async (walk) => {
      const { email, name } = walk.pick(walk.users);
      const answer = await walk.stage.result(walk.device().client.signUp.email({ email, name, password: walk.newPassword() }));
      walk.refused(answer, 422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL");
    },
  },
  "sign up with a short password": {
    endpoint: "POST /sign-up/email",
    weight: 1,
    play: async (walk) => {
      const answer = await walk.stage.result(walk.device().client.signUp.email({ email: "short@example.com", name: "Short", password: "short" }));
      walk.refused(answer, 400, "PASSWORD_TOO_SHORT");
    },
  },
  "sign in": { endpoint: "POST /sign-in/email", weight: 10, play: (walk) => walk.signIn(walk.device(), walk.pick(walk.users)) },
  "sign in with a wrong password": {
    endpoint: "POST /sign-in/email",
    weight: 4,
    play: async (walk) => {
      const { email, password } = walk.pick(walk.users);
      const answer = await walk.stage.result(walk.device().client.signIn.email({ email, password: `${password}!` }));
      walk.refused(answer, 401, "INVALID_EMAIL_OR_PASSWORD");
    },
  },
  "sign in as nobody": {
    endpoint: "POST /sign-in/email",
    weight: 1,
    play: async (walk) => {
      const answer = await walk.stage.result(walk.device().client.signIn.email({ email: "nobody@example.com", password: "plain password" }));
      walk.refused(answer, 401, "INVALID_EMAIL_OR_PASSWORD");
    },
  },
  "sign out": {
    endpoint: "POST /sign-out",
    weight: 5,
    play: async (walk) => {
      const device = walk.device();
      const answer = await walk.stage.result(device.client.signOut());
      walk.expect(answer.data?.success === true, JSON.stringify(answer));
      if (device.session) device.session.alive = false;
      device.session = undefined;
    },
  },
  "list the sessions": {
    endpoint: "GET /list-sessions",
    weight: 5,
    play: async (walk) => {
      const device = walk.device();
      const answer = await walk.stage.result(device.client.listSessions());
      if (!walk.allowed(device, answer) || !device.session) return;
      const listed = (answer.data ?? []).map(({ token }) => token).sort();
      const living = walk.living(device.session.user).map(({ token }) => token).sort();
      walk.expect(listed.join() === living.join(), `listed ${listed.join()}, living ${living.join()}`);
    },
  },
  "revoke a session": {
    endpoint: "POST /revoke-session",
    weight: 4,
    play: async (walk) => {
      const device = walk.device();
      const own = device.session ? walk.living(device.session.user) : [];
      const target = own.length > 0 && walk.chance(0.8) ? walk.pick(own) : walk.anySession();
      const answer = await walk.stage.result(device.client.revokeSession({ token: target.token }));
      if (!walk.allowed(device, answer)) return;
      // A stranger's session stays, and the answer does not tell.
      if (target.user === device.session?.user) target.alive = false;
      if (target === device.session) device.session = undefined;
    },
  },
  "revoke all sessions": {
    endpoint: "POST /revoke-sessions",
    weight: 1,
    play: async (walk) => {
      const device = walk.device();
      const answer = await walk.stage.result(device.client.revokeSessions());
      if (!walk.allowed(device, answer) || !device.session) return;
      walk.end(walk.living(device.session.user));
      device.session = undefined;
    },
  },
  "revoke the other sessions": {
    endpoint: "POST /revoke-other-sessions",
    weight: 2,
    play: async (walk) => {
      const device = walk.device();
      const answer = await walk.stage.result(device.client.revokeOtherSessions());
      if (!walk.allowed(device, answer) || !device.session) return;
      walk.end(walk.living(device.session.user).filter((session) => session !== device.session));
    },
  },
  "change the password": {
    endpoint: "POST /change-password",
    weight: 4,
    play: async (walk) => {
      const device = walk.device();
      const user = device.session?.user;
      const newPassword = walk.newPassword();
      const revokeOtherSessions = walk.chance(0.4);
      const currentPassword = user?.password ?? "plain password";
      const answer = await walk.stage.result(device.client.changePassword({ newPassword, currentPassword, revokeOtherSessions }));
      if (!walk.allowed(device, answer) || !user) return;
      user.password = newPassword;
      walk.expect((answer.data?.token !== null) === revokeOtherSessions, `a new token when the others end: ${JSON.stringify(answer)}`);
      if (!revokeOtherSessions) return;
      walk.end(walk.living(user));
      walk.began(device, user, answer.data?.token);
    },
  },
  "change the password with a wrong one": {
    endpoint: "POST /change-password",
    weight: 2,
    play: async (walk) => {
      const device = walk.device();
      const currentPassword = `${device.session?.user.password ?? "plain password"}!`;
      const answer = await walk.stage.result(device.client.changePassword({ newPassword: walk.newPassword(), currentPassword }));
      if (device.session?.alive) walk.refused(answer, 400, "INVALID_PASSWORD");
      else walk.refused(answer, 401);
    },
  },
  "verify the password": {
    endpoint: "POST /verify-password",
    weight: 3,
    play: async (walk) => {
      const device = walk.device();
      const right = walk.chance(0.6);
      const password = `${device.session?.user.password ?? "plain password"}${right ? "" : "!"}`;
      const answer = await walk.stage.result(device.client.$fetch<{ status: boolean }>("/verify-password", { method: "POST", body: { password } }));
      if (device.session?.alive && !right) walk.refused(answer, 400, "INVALID_PASSWORD");
      else walk.allowed(device, answer);
    },
  },
  "change the name": {
    endpoint: "POST /update-user",
    weight: 4,
    play: async (walk) => {
      const device = walk.device();
      const change = { name: `Walker ${walk.pick(["Ada", "Zoë", "漢字", "👩🏽‍🚀"])} ${walk.newPassword().length}`, image: walk.pick([null, "https://example.com/a.png"]) };
      const answer = await walk.stage.result(device.client.updateUser(change));
      if (walk.allowed(device, answer) && device.session) device.session.user.name = change.name;
    },
  },
  "change the session": {
    endpoint: "POST /update-session",
    weight: 4,
    needs: { session: { additionalFields: SESSION_FIELDS } },
    play: async (walk) => {
      const device = walk.device();
      const theme = walk.pick(["dark", "Zoë", "漢字", null]);
      const visits = walk.pick([0, 7, -1]);
      const change = walk.pick([{ theme }, { visits }, { theme, visits }]);
      const answer = await walk.stage.result(device.client.$fetch<{ session: { token: string } }>("/update-session", { method: "POST", body: change }));
      if (!walk.allowed(device, answer) || !device.session) return;
      Object.assign(device.session, change);
      walk.expect(answer.data?.session.token === device.session.token, `the session is ${device.session.token}: ${JSON.stringify(answer)}`);
      walk.holds(device.session, answer.data?.session);
    },
  },
  "set a field that is not theirs to set": {
    endpoint: "POST /update-session",
    weight: 1,
    needs: { session: { additionalFields: SESSION_FIELDS } },
    play: async (walk) => {
      const device = walk.device();
      const answer = await walk.stage.result(device.client.$fetch("/update-session", { method: "POST", body: { device: "phone", theme: "dark" } }));
      if (device.session?.alive) walk.refused(answer, 400, "FIELD_NOT_ALLOWED");
      else walk.refused(answer, 401);
    },
  },
  "ask for a token": {
    endpoint: "GET /token",
    weight: 4,
    needs: PLUGINS,
    play: async (walk) => {
      const device = walk.device();
      const answer = await walk.stage.result(device.client.$fetch<{ token: string }>("/token"));
      if (walk.allowed(device, answer)) walk.token = answer.data?.token;
    },
  },
  "show a session's token": {
    endpoint: "GET /token",
    weight: 3,
    needs: PLUGINS,
    play: async (walk) => {
      const session = walk.anySession();
      const [signed = ""] = /(?<=session_token=)[^;]+/.exec(session.cookie) ?? [];
      const shown = walk.pick([session.token, signed, decodeURIComponent(signed)]);
      const reply = await walk.stage.get("/token", { headers: { authorization: `Bearer ${shown}` } });
      walk.expect(reply.status === (session.alive ? 200 : 401), `${session.user.email}, ${session.alive ? "alive" : "ended"}: ${reply.text}`);
      if (session.alive) walk.token = String(reply.json.token);
    },
  },
  "look at the keys": {
    endpoint: "GET /jwks",
    weight: 3,
    needs: PLUGINS,
    play: async (walk) => {
      const answer = await walk.stage.result(walk.device().client.$fetch<{ keys: { [member: string]: string }[] }>("/jwks"));
      walk.expect(answer.data?.keys.length === 1, `both sign with one key: ${JSON.stringify(answer)}`);
      const keys = new KeyRing({});
      keys.learn(toldKeys(answer.data?.keys ?? []));
      walk.expect(walk.token === undefined || keys.open(walk.token) !== undefined, `${walk.token} is signed with one of ${JSON.stringify(answer)}`);
    },
  },
  "list the accounts": {
    endpoint: "GET /list-accounts",
    weight: 2,
    play: async (walk) => {
      const device = walk.device();
      const answer = await walk.stage.result(device.client.listAccounts());
      if (!walk.allowed(device, answer)) return;
      walk.expect(answer.data?.map(({ providerId }) => providerId).join() === "credential", JSON.stringify(answer));
    },
  },
  "unlink the only account": {
    endpoint: "POST /unlink-account",
    weight: 1,
    play: async (walk) => {
      const device = walk.device();
      const answer = await walk.stage.result(device.client.unlinkAccount({ accountId: "the-only-one" }));
      if (device.session?.alive) walk.refused(answer, 400, "FAILED_TO_UNLINK_LAST_ACCOUNT");
      else walk.refused(answer, 401);
    },
  },
  "leave for good": {
    endpoint: "POST /delete-user",
    weight: 1,
    needs: { user: { deleteUser: { enabled: true } } },
    play: async (walk) => {
      const device = walk.device();
      const user = device.session?.user;
      const answer = await walk.stage.result(device.client.deleteUser({ password: user?.password ?? "plain password" }));
      if (!walk.allowed(device, answer) || !user) return;
      walk.end(walk.living(user));
      walk.users.splice(walk.users.indexOf(user), 1);
      device.session = undefined;
      if (walk.users.length < 2) await walk.signUp(device);
    },
  },
};

/** Every endpoint the walk can use, with the options it needs. */
export const ENDPOINTS = new Map(Object.values(MOVES).map(({ endpoint, needs }) => [endpoint, needs ?? {}]));
