#!/bin/sh
# Makes the certificates of the TLS tests anew: two authorities, what each signed for a server and a client, and a
# stranger. They protect nothing. Valid for 100 years; but for expired.pem, the server's that ended a day before it was
# made.
set -eu
cd "$(dirname "$0")"
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj "/CN=$1" \
        -keyout "$1.key" -out "$1.pem" 2>/dev/null
}
# FILE HOST AUTHORITY
signed() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" -keyout "$1.key" \
        -out "$1.csr" 2>/dev/null
    printf 'subjectAltName=DNS:%s\nbasicConstraints=CA:FALSE\n' "$2" |
        openssl x509 -req -in "$1.csr" -CA "$3.pem" -CAkey "$3.key" -CAcreateserial -days 36500 -extfile /dev/stdin \
            -out "$1.pem" 2>/dev/null
}
authority ca
authority stranger
signed server server.test ca
signed client client.test ca
# What the others are rotated to.
authority next-ca
signed next-server server.test next-ca
signed next-client client.test next-ca
openssl req -new -key server.key -subj "/CN=server.test" -out expired.csr
printf 'subjectAltName=DNS:server.test\nbasicConstraints=CA:FALSE\n' |
    openssl x509 -req -in expired.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days -1 -extfile /dev/stdin \
        -out expired.pem 2>/dev/null
rm -f ./*.csr ./*.srl ca.key next-ca.key stranger.key
