#!/bin/bash
# Build Kubernetes 1.20.2 from Debian bookworm's source package, with Debian's Go 1.19, and unpack
# etcd, containerd, runc, the network plugins and hey beside it. About 25 minutes the first time, on one
# core; then it ends at once. Everything goes into $OPS_CACHE/cluster, nothing is installed. Packages
# are downloaded by apt with lists of its own, so the machine's sources stay as they are.
#
# Debian packages no newer version of the server, and the images of other projects need a registry.
set -euo pipefail
cache=${OPS_CACHE:?set it to the folder of downloads}/cluster
mirror=${OPS_MIRROR:-http://deb.debian.org/debian}
programs="kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy"
packages="golang-1.19-go golang-1.19-src etcd-server containerd runc libseccomp2
    containernetworking-plugins iptables libip4tc2 libip6tc2 libxtables12 libnftnl11 libmnl0
    libnetfilter-conntrack3 libnfnetlink0 conntrack hey"

mkdir -p "$cache"/{apt/lists/partial,apt/archives/partial,packages,root,bin}
cd "$cache"
exec 8>lock
flock 8 # a second run waits for the first

if [ ! -e packages/complete ]; then
    keys="[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    printf 'deb %s %s bookworm main\ndeb-src %s %s bookworm main\n' \
        "$keys" "$mirror" "$keys" "$mirror" > apt/sources.list
    apt=(-qq -o "Dir::Etc::sourcelist=$cache/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt"
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
    apt-get "${apt[@]}" update
    (cd packages && apt-get "${apt[@]}" download $packages &&
        apt-get "${apt[@]}" source --download-only kubernetes)
    for package in packages/*.deb; do dpkg -x "$package" root; done
    for tool in iptables ip6tables; do # as the alternatives of an installed package
        for form in "" -save -restore; do ln -sf xtables-nft-multi "root/usr/sbin/$tool$form"; done
    done
    touch packages/complete
fi

missing=()
for program in $programs; do [ -x "bin/$program" ] || missing+=("./cmd/$program"); done
[ ${#missing[@]} -gt 0 ] || { echo "Kubernetes is built: $cache/bin"; exit 0; }

# GOPATH mode: the vendored modules of this version are symbolic links, which newer Go refuses.
export GOROOT=$cache/root/usr/lib/go-1.19 GOPATH=$cache/go GOCACHE=$cache/go-build HOME=$cache
export GO111MODULE=off GOFLAGS=${GOFLAGS:--p=1} CGO_ENABLED=0 PATH=$cache/root/usr/lib/go-1.19/bin:$PATH
source=$GOPATH/src/k8s.io/kubernetes
if [ ! -e "$source/.unpacked" ]; then
    rm -rf "$source"
    mkdir -p "$GOPATH/src/k8s.io"
    dpkg-source --no-check -x packages/kubernetes_*.dsc "$source" > dpkg-source.log
    touch "$source/.unpacked"
fi
cd "$source"

# The source package lacks one generated file.
generated=pkg/generated/openapi/zz_generated.openapi.go
if [ ! -s "$generated" ]; then
    echo "generating $generated"
    go build -o "$cache/bin/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
    tagged=$(grep -rl --include='*.go' '+k8s:openapi-gen=' -R pkg cmd plugin vendor/k8s.io/*/ |
        grep -v -e /code-generator/ -e /sample-apiserver/ -e _test.go -e /kube-openapi/ |
        xargs -n 1 dirname | sort -u | sed 's,^,k8s.io/kubernetes/,' | paste -sd,)
    "$cache/bin/openapi-gen" --logtostderr -O zz_generated.openapi \
        -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -i "$tagged" \
        -p k8s.io/kubernetes/pkg/generated/openapi -r "$cache/openapi-violations.txt"
fi

# Without the interfaces of clouds and of Docker, which are a good part of the code.
version=k8s.io/component-base/version
mkdir -p "$cache/bin/part"
go build -o "$cache/bin/part" -tags providerless,dockerless -ldflags \
    "-s -w -X $version.gitVersion=v1.20.2 -X $version.gitMajor=1 -X $version.gitMinor=20" \
    "${missing[@]}"
mv "$cache"/bin/part/* "$cache/bin/"
rm -rf "$GOCACHE"
echo "Kubernetes is built: $cache/bin"
