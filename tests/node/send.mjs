// Sends one message of each kind with Segment's own client: URL, key, user and visitor are its arguments.
import { Analytics } from "@segment/analytics-node";

const [host, writeKey, userId, anonymousId] = process.argv.slice(2);
const analytics = new Analytics({ writeKey, host, flushAt: 100, flushInterval: 20, maxRetries: 5 });
analytics.on("error", (error) => { console.error(error); process.exitCode = 1; });

analytics.track({ anonymousId, event: "sale", properties: { amount: 2 } });
analytics.identify({ userId, anonymousId, traits: { plan: "gold", trial: true } });
analytics.track({ userId, event: "sale", properties: { amount: 5 }, context: { partner: "blue" } });
analytics.page({ userId, name: "Home" });
analytics.screen({ userId, name: "Start" });
analytics.group({ userId, groupId: "g-1" });
analytics.alias({ userId, previousId: `${anonymousId}-before` });
await analytics.closeAndFlush({ timeout: 30000 });
