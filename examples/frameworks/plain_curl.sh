#!/bin/sh
# A chat, its headers shown; the same streamed; the pool's figures.
set -eu
ask() {
  path=$1; shift
  curl -sS --fail-with-body "$OPENAI_BASE_URL/$path" -H "Authorization: Bearer $OPENAI_API_KEY" -H 'Content-Type: application/json' "$@"
}
chat="{\"model\": \"$MODEL\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]"
ask chat/completions -i -d "$chat}"
echo
ask chat/completions -N -d "$chat, \"stream\": true}"
ask stats
echo
