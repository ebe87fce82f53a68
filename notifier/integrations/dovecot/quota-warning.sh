#!/bin/sh
# quota-warning.sh: tells notifier that a mailbox has crossed a limit. Started by Dovecot (`quota_warning`); it holds up
# no mail. Needs curl 7.71 or later.
#
#   quota-warning.sh URL TOKEN_FILE over|under PERCENT USER
#
# Tries for up to a minute; the event's id makes a second arrival harmless. What cannot be delivered is lost, with a
# line in Dovecot's log. Token and user name reach curl by its standard input, not by the process list.
set -eu

if [ "$#" -ne 5 ]; then
  echo "quota-warning.sh: expected URL TOKEN_FILE over|under PERCENT USER" >&2
  exit 64
fi
url=$1 token_file=$2 state=$3 percent=$4 user=$5

case $state in
  over) event=QuotaExceed ;;
  under) event=QuotaWithin ;;
  *) echo "quota-warning.sh: the state is over or under" >&2; exit 64 ;;
esac
case $percent in
  '' | *[!0-9]* | ????*) echo "quota-warning.sh: the percent is a whole number" >&2; exit 64 ;;
esac
token=$(head -c 1024 "$token_file" | tr -cd '[:graph:]')
[ -n "$token" ] || { echo "quota-warning.sh: $token_file is empty" >&2; exit 78; }

id=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)

# Inside a JSON text and inside a quoted value of curl's configuration alike, " and \ take a backslash.
quoted() { tr -d '\000-\037\177' | sed 's/[\\"]/\\&/g'; }

name=$(printf '%s' "$user" | quoted)
body="{\"id\":\"$id\",\"event\":\"$event\",\"state\":\"$state\",\"percent\":$percent,\"user\":\"$name\",\"timestamp\":\"$now\"}"

{
  printf 'url = "%s"\n' "$(printf '%s' "$url" | quoted)"
  printf 'header = "Authorization: Bearer %s"\n' "$(printf '%s' "$token" | quoted)"
  printf 'header = "Content-Type: application/json"\n'
  printf 'data-raw = "%s"\n' "$(printf '%s' "$body" | quoted)"
} | curl --config - --silent --show-error --fail --output /dev/null \
  --max-time 5 --retry 6 --retry-delay 5 --retry-max-time 60 --retry-connrefused
