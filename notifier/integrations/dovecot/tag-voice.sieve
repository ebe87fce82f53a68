# tag-voice.sieve: gives a voice message the keyword VoiceMessage, which notify.lua reports and notifier believes.
#
# Dovecot shows the Lua script no header but From, To, Subject, Date and Message-ID: without this a voice message that
# comes as mail looks like any mail.
#
# BEWARE: a believed voice message may ring at night and cost an SMS, and any stranger can write these headers. Switch
# it on only where your MTA removes them from mail that does not come from the PBX, for Postfix with header_checks on
# the public port (and not on the one the PBX uses):
#
#   /^(Message-Context|X-Asterisk-[A-Za-z-]+|X-Voicemail-[A-Za-z-]+):/  IGNORE
#
# Compile with `sievec tag-voice.sieve`; it runs before the user's own script (`sieve_before`). A script of the user
# that files with flags of its own (`fileinto :flags`) sets those instead.
require ["imap4flags"];

if anyof (
  header :contains "Message-Context" "voice-message",
  exists "X-Asterisk-CallerID",
  exists "X-Asterisk-VM-Message-Num",
  exists "X-Voicemail-Length"
) {
  addflag "VoiceMessage";
}
