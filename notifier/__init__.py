"""notifier: a mail server's events in; push, SMS and digest mail out, as each person wishes. This is the map.

What it knows of a mailbox is what sets it apart: whatever is read, removed or moved undoes what was announced. So
everything hangs on *items*: one message as one person sees it, in one or more places.

The way of an event

    bytes ─dialect─▶ Event ─identity─▶ journal (durable) ─▶ 200                              web.intake
                                          │ the inbox row is the wake-up
              Recipient, Facts ─▶ decide ─▶ Verdict ─▶ plan ─▶ Notification*                 services.dispatcher
                                          │ one transaction: event done, items moved, notifications queued,
                                          │ pointless ones cancelled, the decision kept with its reasons
                                        queue ─ claim, lease ─▶ last check ─▶ render ─▶ send services.sender
                                                                                  │
                                          State + Receipt ◀─ settle ─ Outcome ◀───┘          one transaction
    dismissals and badges go a lane of their own, merged per device                          services.undoer

Every stage's rows are durable; what was just committed is handed to the next stage through memory. The database is
scanned only at the start, after an overflow, for what falls due later, and for strays.

The floors: a room imports only from floors below it, rooms on one floor do not know one another

    cli                              what a person types
    app                              wiring: the only place that knows everything; signals, drain, the demo
    config                           config.toml → Config, every fault at once
    web | services                   doors in | the loops that move things on
    channels | store | dialects      providers out | what survives a crash | bytes → Event
    render                           templates → text, at the allowed level of privacy
    engine                           every decision, pure
    model                            the words, pure
    telemetry | errors               log and metrics | the exception tree: each line says who must act

`integrations` is not imported: files that a mail server's admin copies. `app.recordings` are the demo's events.

Where to look

    whose mailbox, which events are one            dialects.naming, engine.identity
    read, moved, gone, new again                   engine.ranges, engine.absorb, services.{state_changes,moves,arrivals}
    who is told, when, why not                     engine.decide: exclude → categorise → wish → media → plan
    wishes: layers, quiet hours, digest times      engine.preferences, .document, .schedule, .slots; services.planner
    why, in the reader's words                     engine.fate, engine.explain, engine.english, engine.german
    what a state may become, retries, fates        engine.lifecycle: the only file that moves State
    what a provider's answer means                 the table in each of channels.apns, fcm_errors, sms, email
    what is written together                       store, its SQL by name in store/sql
    what the service promises over HTTP            web, described by web.openapi and tested against it

What always holds

 1. 200 means on disk. Intake writes journal, inbox, mailbox counts and seen ranges in one commit, and decides nothing.
 2. Deciding is pure: decide(event, recipient, facts, now). Simulation and the real thing are the same call.
 3. Ids are deterministic (uuid5 of event key, person, target, …) and remembered after their end, so that deciding or
    receiving anything twice adds nothing. Re-planning changes a waiting row in place and never revives an ended one.
 4. What concerns one person is decided in one transaction, and the last check asks again directly before each
    hand-over: read? expired? target gone? wishes changed (revisions)? quiet now?
 5. SMS and mail commit `handing_over` with their frozen bytes before the first byte leaves: an SMS is never sent twice
    by us, a mail at most twice and the same. A push repeats with the same ids.
 6. A retraction never hides the fate of what has left: it marks, settle obeys. Undo is never held by quiet hours.
 7. A read that comes before its mail counts: ranges are kept as long as the longest age limit, and never expanded.
 8. A provider's refusal is a value (`Outcome`), an exception is our own trouble. One bad event or row never sinks its
    neighbours.
 9. Everything an outsider controls has a limit with a name and a unit. What waits, waits on disk.
10. model, engine and dialects touch no clock, chance, file or network: time and chance come in as arguments, and `app`
    makes the one `Clock`. Every task lives in `app`'s TaskGroup.
11. Tokens, numbers, addresses, subjects and senders are in no log line, no metric, no error.

What is deliberately absent

- A queue beside the store: preferences, due times, leases and receipts agree because one transaction moves them.
- A job per user: due times are rows. APScheduler is the clock of housekeeping only.
- An ORM and a fake database: SQL stands under its name, tests use the real store on a temporary file.
- Guessing from header evidence: what only a sender says labels a text and opens nothing.
- TLS of our own: a reverse proxy has it. Accounts and passwords: the operator's login issues tokens.
- Replies to an SMS (the provider answers STOP and HELP), read receipts, the reading of bounces.

Not yet there: rules, chains, caps, snooze, readers of shared mailboxes, tenant and group layers, Web Push, a preference
page, PostgreSQL and several nodes, a bridge beside mail servers without a spool. A wish that needs one of them is
refused, or warned of when it is saved.
"""
