# helm, two versions: a chart kept as an OCI artifact.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

out="$WORK/helm"
for helm in helm3 helm4; do
  bin="$tools/bin/$helm"
  for registry in registry.example.test second.example.test; do
    chart="oci://$PLANE/$registry/charts/shop"
    check "$helm: pull of a chart of $registry" "$bin" pull --plain-http "$chart" --version 1.2.3 --untar --untardir "$out/$helm-$registry"
    check "$helm: pull of its archive" "$bin" pull --plain-http "$chart" --version 1.2.3 --destination "$out"
    same_file "$helm: is the archive of the upstream" "$WORK/chart/shop-1.2.3.tgz" "$out/shop-1.2.3.tgz"
    rm -f "$out/shop-1.2.3.tgz"
    "$bin" template shop --plain-http "$chart" --version 1.2.3 >"$out/rendered.yaml" 2>"$out/rendered.err" || true
    same_file "$helm: renders what the upstream's renders" "$WORK/expect/chart.yaml" "$out/rendered.yaml"
  done
  refused "$helm: pull of an absent version" "$bin" pull --plain-http "oci://$PLANE/registry.example.test/charts/shop" --version 9.9.9 --destination "$out"
done
