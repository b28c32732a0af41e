#!/bin/sh
# curl against every surface. Arguments: HTTP port, gRPC port, folder of examples.
set -eu
at="http://127.0.0.1:$1"

has() { # what to find, then what to ask curl for
  wanted=$1 && shift
  found=$(curl -sS --max-time 60 "$@")
  case $found in
    *"$wanted"*) ;;
    *) echo "no $wanted in $found" && exit 1 ;;
  esac
}

has '{"live":true}' "$at/v2/health/live"
has '{"ready":true}' "$at/v2/health/ready"
has '"name":"translation"' "$at/v2/models/translation"
has 'Wo ist die Bibliothek?' "$at/v2/models/translation/infer" -d '{
  "id": "1", "parameters": {"source": "en", "target": "de"},
  "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["Where is the library?"]}]
}'
has 'Wo ist die Bibliothek?' "$at/models/translation" \
  -d '{"inputs": "Where is the library?", "parameters": {"src_lang": "en", "tgt_lang": "de"}}'
has '"label":"cat"' "$at/models/image-classification" --data-binary "@$3/cat.jpg"
has '"status":405' "$at/models/translation"
has '"text":"Good morning.' "$at/v1/audio/transcriptions" \
  -F model=whisper-1 -F "file=@$3/speech.flac"
has 'data: [DONE]' -N "$at/v1/audio/transcriptions" \
  -F model=whisper-1 -F stream=true -F "file=@$3/speech.flac"
has '"param":"file"' "$at/v1/audio/transcriptions" -F model=whisper-1
has '"id":"whisper-1"' "$at/v1/models"
