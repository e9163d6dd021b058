# Resources are edited under load: a good edit applies at once and costs no request; a bad one changes nothing and says
# why; a start on bad or missing files begins with the last good set.
# shellcheck shell=bash disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
require curl jq sha256sum

start_upstream up --blob 2M --blob 1M
usual_resources
start_plane
gives 'before: manifest' "$DIR/got" "$(image 1 digest)" "$(plane_manifest 1 latest)"
gives 'before: layer' "$DIR/got" "$(layer 1 digest)" "$(plane_layer 1)"

# load: pulls without end until $DIR/stop is there; every status that is not 200 is told.
load() {
  local manifest blob
  manifest=$(plane_manifest 1 latest)
  blob=$(plane_layer 1)
  while [[ ! -e $DIR/stop ]]; do
    # One connection for a hundred requests, so that edits meet connections kept open.
    curl -sS -m 30 -H "$ACCEPT" -o /dev/null -w '%{http_code}\n' "$manifest?[1-40]" -o /dev/null "$blob?[1-10]" 2>&1 || echo "curl: $?"
  done
}
start_load() {
  local n
  rm -f "$DIR/stop"
  LOADS=()
  for n in 1 2 3; do
    load >"$DIR/load.$n" &
    LOADS+=("$!")
  done
}
# end_load TEXT: no request failed, and there were some.
end_load() {
  local load
  touch "$DIR/stop"
  for load in "${LOADS[@]}"; do wait "$load" || true; done
  nothing "$1: no request failed" "$(cat "$DIR"/load.* | grep -vx 200 | sort | uniq -c)"
  one_of "$1: requests were made" yes "$([[ $(cat "$DIR"/load.* | grep -cx 200) -gt 100 ]] && echo yes)"
  note "$1: $(cat "$DIR"/load.* | grep -cx 200) requests"
}
serves() {
  [[ $(curl -sS -m 10 -o /dev/null -w '%{http_code}' -H "$ACCEPT" "$PLANE_URL/v2/$1/$(image 1 name)/manifests/latest") == "$2" ]]
}
revision() { curl -fsS -m 5 "$PLANE_URL/metrics" | sed -n 's/^lockgate_revision_info{.*digest="\([^"]*\)".*/\1/p'; }
revision_is_not() { [[ -n $(revision) && $(revision) != "$1" ]]; }
failures() { count lockgate_reload_failures; }

start_load
for n in 1 2 3 4 5 6; do
  before=$(revision)
  # Both ways people write files: a new one moved into place, and one written where it stands.
  if ((n % 2)); then
    repository_resource "added-$n.example.test" >"$DIR/new.yaml"
    mv "$DIR/new.yaml" "$DIR/resources/added-$n.yaml"
  else
    repository_resource "added-$n.example.test" >"$DIR/resources/added-$n.yaml"
  fi
  soon "a good edit ($n) applies" 15 serves "added-$n.example.test" 200
  same "a good edit ($n): another revision" yes "$(revision_is_not "$before" && echo yes)"
done
rm "$DIR/resources/added-1.yaml"
soon 'a file that is removed takes its repository along' 15 serves added-1.example.test 404
end_load 'good edits'

before=$(revision)
failed=$(failures)
start_load
cat >"$DIR/resources/bad.yaml" <<YAML
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: bad.example.test }
spec:
  remote: { upsteam: up }
YAML
soon 'a bad edit: the log names the file' 15 log_says 'bad\.yaml'
soon 'a bad edit: the log names the field and the nearest one' 5 log_says 'upsteam.*upstream'
soon 'a bad edit: /readyz says so' 5 readyz_says 'bad\.yaml'
soon 'a bad edit: it is counted' 5 metric_over lockgate_reload_failures "$failed"
same 'a bad edit: the revision stays' "$before" "$(revision)"
plane_alive 'a bad edit: the plane is ready all the same'
repository_resource half.example.test >"$DIR/resources/half.yaml"
printf 'spec: {' >>"$DIR/resources/half.yaml"
sleep 1
soon 'a bad edit beside a half-written one: nothing of either applies' 5 serves half.example.test 404
end_load 'bad edits'

end_plane
start_plane
same 'a start on bad files: the last good set' "$before" "$(revision)"
soon 'a start on bad files: it serves' 5 serves added-2.example.test 200
soon 'a start on bad files: /readyz says so' 5 readyz_says 'bad\.yaml'
plane_alive 'a start on bad files: the plane is ready'

end_plane
mv "$DIR/resources" "$DIR/away"
start_plane
same 'a start without files: the last good set' "$before" "$(revision)"
soon 'a start without files: it serves' 5 serves added-2.example.test 200

end_plane
rm -f "$DIR"/data/catalog.sqlite*
start_plane
same 'a start without files and catalog: the last good set' "$before" "$(revision)"
soon 'a start without files and catalog: it serves' 5 serves added-2.example.test 200

end_plane
rm "$DIR/away/bad.yaml" "$DIR/away/half.yaml"
mv "$DIR/away" "$DIR/resources"
repository_resource last.example.test >"$DIR/resources/last.yaml"
start_plane
soon 'good files again: they apply' 5 serves last.example.test 200
nothing 'good files again: /readyz has no complaint of files' "$(readyz | grep -oiE '.{0,40}bad\.yaml.{0,40}' || true)"
