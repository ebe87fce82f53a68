"""Doors in: HTTP for mail servers, end users, providers and operators.

server        the application, and what is around every door: log, headers, problems, limits, access
doors         what a handler may use; settings its limits and secrets
route         one line a door: method, pattern, gate, handler
auth          whose things a request is about: operator's token, user's JWT (tokens), signed link; names the gate
body          bounded bodies, pages, cursors; problems RFC 9457's answers; language which one they speak
intake        events from mail servers
preferences   devices   contacts (verification, phones)   history      the user's
unsubscribe   pages                                                    behind signed links
callbacks     Twilio's
admin   letters   person   export                                      the operator's
health        openapi (operations, schemas)
"""
