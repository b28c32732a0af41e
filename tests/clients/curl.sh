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
has 'WEBVTT' "$at/v1/audio/transcriptions" \
  -F model=whisper-1 -F response_format=vtt -F "file=@$3/speech.flac"
has '"translatedText":"Wo ist die Bibliothek?"' "$at/translate" \
  -d q='Where is the library?' -d source=en -d target=de
has '<b>Bibliothek</b>' "$at/translate" -H 'Content-Type: application/json' -d '{
  "q": "<p>Where is the <b>library</b>?</p>", "source": "en", "target": "de", "format": "html"
}'
has '"language":"fr"' "$at/detect" -d q='Où est la bibliothèque ?'
has '"code":"de"' "$at/languages"
has '"filesTranslation":true' "$at/frontend/settings"
printf 'Where is the library?' > a.txt
has "$at/download_file/" "$at/translate_file" -F file=@a.txt -F source=en -F target=de
link=${found#*:\"} && link=${link%\"*}
has 'Wo ist die Bibliothek?' "$link"
has 'zz is not supported' "$at/translate" -d q=a -d source=en -d target=zz
has '"status":501' "$at/v2/systemsharedmemory/status"
has '"extensions"' "$at/v2"
has '"text":"' "$at/models/automatic-speech-recognition" --data-binary "@$3/speech.flac"
has '"label":"yes"' "$at/pipeline/audio-classification" --data-binary "@$3/yes.flac"
gzip -c > asked.gz <<'END'
{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["Where is the library?"]}],
 "parameters": {"source": "en", "target": "de"}}
END
has 'Wo ist die Bibliothek?' "$at/v2/models/translation/infer" \
  -H 'Content-Encoding: gzip' --data-binary @asked.gz
