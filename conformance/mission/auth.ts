/**
 * `auth` as a test of an auth service imports it, with the official client in place of the library: the service is a
 * process of its own, at BETTER_AUTH_URL.
 *
 * The client answers `{ data: { user, token }, error }`, and `null` for the one of them that there is not. Here `data` is
 * the user, and what is `null` there is `undefined`, so that `toBeDefined()` says something. Nothing else is changed.
 * As in a page, requests say where they come from: the first of CORS_ORIGINS.
 */
import { createAuthClient } from "better-auth/client";

const [origin = ""] = (process.env.CORS_ORIGINS ?? "").split(",");
const client = createAuthClient({ baseURL: process.env.BETTER_AUTH_URL, fetchOptions: { headers: { origin } } });

type SignUp = Parameters<typeof client.signUp.email>[0] & { [field: string]: unknown };

async function signUpEmail({ body }: { body: SignUp }) {
  const { data, error } = await client.signUp.email(body);
  return { data: data?.user, error: error ?? undefined };
}

export const auth = { api: { signUpEmail } };
