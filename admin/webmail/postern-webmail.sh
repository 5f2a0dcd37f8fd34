#!/bin/sh
# postern webmail: Debian's Roundcube behind nginx and php-fpm, as the webmail of this server; and what mail programs ask for to set themselves up. What it
# writes comes from the templates below share_directory/webmail; postern-webmail(8) lists it. It may be run again at any time: what is right is kept.
set -eu
umask 022
usage() {
	cat <<-END
	usage: postern-webmail [-c FILE] setup [--no-install] [DOMAIN ...] | status | remove [--purge]
	A webmail (Debian's Roundcube, php-fpm, nginx) and client set-up for the mail domains of this server.
	  setup         install and configure it, or bring it up to date; DOMAIN: further domains whose names lead here
	  --no-install  do not install Debian packages
	  status        what is in place
	  remove        take the configuration away; address books and packages stay
	  --purge       address books and settings of the users go too
	END
}

fail() {
	echo "postern-webmail: $1" >&2
	exit "${2:-1}"
}

say() { echo "$1"; }

here=$(dirname "$(readlink -f "$0")")
conf=@SYSCONFDIR@/postern/postern.conf
WEB_USER=_postern_web		# Roundcube's PHP runs as this user, which owns nothing else
MARK='# Webmail (written by postern webmail; ends at the next empty line)'
SITE=postern-webmail

value() { "$here/postern" -c "$conf" config -h "$1"; }

# --- what postern.conf says ---

# The first listener of a list with this profile, as ADDRESS:PORT to reach it from here; nothing when there is none.
listener() { # LIST PROFILE
	for l in $1; do
		[ "${l##*/}" = "$2" ] || continue
		l=${l%/*}
		case "$l" in
		'*:'* | '0.0.0.0:'*) echo "127.0.0.1:${l##*:}" ;;
		'[::]:'*) echo "[::1]:${l##*:}" ;;
		*:*) echo "$l" ;;
		*) echo "127.0.0.1:$l" ;;
		esac
		return
	done
}

is_loopback() {
	case "$1" in 127.* | '[::1]:'*) return 0 ;; *) return 1 ;; esac
}

# Mail domains that are written out in postern.conf (not those that are in a map), and the ones that were named.
domain_list() {
	for d in "$(value mydomain)" $(value virtual_mailbox_domains) "$@"; do
		case "$d" in *:* | */* | *[!A-Za-z0-9.-]* | '' | [.-]*) ;; *) echo "$d" ;; esac
	done | tr '[:upper:]' '[:lower:]' | awk '!seen[$0]++'
}

read_conf() {
	[ -r "$conf" ] || fail "$conf: no such file; postern setup makes one"
	"$here/postern" -c "$conf" config -n >/dev/null || fail "$conf has mistakes: postern check"
	host=$(value myhostname)
	state=$(value state_directory)/webmail
	share=$(value share_directory)/webmail
	etc=$(dirname "$conf")/webmail
	run=$(value run_directory)
	cert=$(value tls_cert_file)
	key=$(value tls_key_file)
	limit=$(value message_size_limit)
	imap_lists=$(value imap_listeners)
	pop3_lists=$(value pop3_listeners)
	smtp_lists=$(value smtp_listeners)
	if [ "$1" = setup ]; then
		imap=$(listener "$imap_lists" imap)
		smtp=$(listener "$smtp_lists" submissions)
		[ -n "$imap" ] && is_loopback "$imap" || fail "imap_listeners: the webmail needs an IMAP listener (profile imap) on a loopback or every address"
		[ -n "$smtp" ] || fail "smtp_listeners: the webmail needs a listener of profile submissions"
		[ -s "$cert" ] && [ -s "$key" ] || fail "tls_cert_file, tls_key_file: there is no certificate yet; postern setup makes one"
	fi
}

# --- files ---

# Write what a command prints to a file, unless it holds just that. MODE OWNER:GROUP FILE COMMAND …
put() {
	mode=$1 owner=$2 file=$3
	shift 3
	(umask 077 && : > "$file.new")
	"$@" > "$file.new"
	chown "$owner" "$file.new"
	chmod "$mode" "$file.new"
	if cmp -s "$file.new" "$file" && [ "$(stat -c '%a %U:%G' "$file")" = "$mode $owner" ]; then
		rm -f "$file.new"
		say "kept     $file"
	else
		mv -f "$file.new" "$file"
		say "written  $file"
	fi
}

link() { # TARGET NAME
	if [ "$(readlink "$2" 2>/dev/null)" = "$1" ]; then
		say "kept     $2"
		return
	fi
	ln -sfn "$1" "$2"
	say "linked   $2"
}

directory() { # MODE OWNER PLACE
	mkdir -p "$3"
	chown "$2" "$3"
	chmod "$1" "$3"
}

# Only words go into a template: names, addresses, numbers and paths.
template() { # NAME
	[ -r "$share/$1" ] || fail "$share/$1 is missing: make install"
	sed -e "s|@HOST@|$host|g" -e "s|@NAMES@|$names|g" -e "s|@ETC@|$etc|g" -e "s|@STATE@|$state|g" -e "s|@SHARE@|$share|g" -e "s|@CERT@|$cert|g" \
		-e "s|@KEY@|$key|g" -e "s|@SOCKET@|$socket|g" -e "s|@IMAP@|$imap|g" -e "s|@SMTP@|$smtp|g" -e "s|@DOMAIN@|$domain|g" -e "s|@USER@|$WEB_USER|g" \
		-e "s|@LIMIT@|$limit|g" -e "s|@POST@|$post|g" -e "s|@MEMORY@|$memory|g" -e "s|@DES_KEY@|$des_key|g" -e "s|@PORT_IMAPS@|$port_imaps|g" \
		-e "s|@PORT_POP3S@|$port_pop3s|g" -e "s|@PORT_SUBMISSIONS@|${smtp##*:}|g" -e "s|@PATTERNS@|$patterns|g" \
		-e "/@IPV6@/$([ -e /proc/net/if_inet6 ] && echo 's|@IPV6@||' || echo d)" "$share/$1"
}

# --- Debian's part ---

packages() {
	want="php-fpm php-sqlite3 php-intl php-zip roundcube-core roundcube-sqlite3 roundcube-plugins nginx-light"
	missing=
	for p in $want; do
		case "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" in installed) ;; *) missing="$missing $p" ;; esac
	done
	# Any nginx will do.
	[ -x /usr/sbin/nginx ] && missing=$(echo "$missing" | sed 's/ nginx-light//')
	[ -n "$missing" ] || return 0
	[ -z "$no_install" ] || fail "not installed:$missing"
	say "installing$missing"
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >/dev/null || fail "apt-get could not install$missing"
}

find_php() {
	fpm=$(ls -d /etc/php/*/fpm 2>/dev/null | sort -V | tail -n 1)
	[ -n "$fpm" ] || fail "there is no php-fpm below /etc/php"
	version=$(basename "$(dirname "$fpm")")
	socket=/run/php/$SITE.sock
}

web_user() {
	getent passwd $WEB_USER >/dev/null && return
	useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin --user-group $WEB_USER
	say "user     $WEB_USER"
}

# Restart or start a daemon by what the system has for it.
daemon() {
	if [ -d /run/systemd/system ]; then
		systemctl enable --quiet "$1"
		systemctl reload-or-restart "$1"
	else
		service "$1" status >/dev/null 2>&1 && service "$1" reload >/dev/null || service "$1" restart >/dev/null
	fi
}

# Does the login page come, from this machine and over HTTPS? What was told to reload needs a moment.
answers() {
	tries=0
	until "/usr/bin/php$version" -r '
		$c = stream_context_create(["ssl" => ["verify_peer" => false, "verify_peer_name" => false, "peer_name" => $argv[1]],
			"http" => ["header" => "Host: $argv[1]", "follow_location" => 0, "timeout" => 20]]);
		exit(strpos((string) @file_get_contents("https://127.0.0.1/", false, $c), "rcmloginuser") === false ? 1 : 0);' "$host"
	do
		tries=$((tries + 1))
		[ $tries -lt 20 ] || return 1
		sleep 0.25
	done
}

# --- postern.conf: logins from here without TLS (the session gets the connection itself), and the browser's address from the webmail's ID ---

conf_without_block() { awk -v mark="$MARK" '$0 == mark { skip = 1 } !skip { print } skip && /^$/ { skip = 0 }' "$conf"; }

covers_loopback() {
	case " $1 " in *' 127.'* | *' [::1]'*) return 0 ;; *) return 1 ;; esac
}

conf_replace() {
	chmod --reference="$conf" "$conf.new"
	chown --reference="$conf" "$conf.new"
	"$here/postern" -c "$conf.new" config -n >/dev/null || fail "$conf.new would be wrong; $conf is as it was"
	mv -f "$conf.new" "$conf"
	say "written  $conf"
	# The supervisor and daemons that were started one by one read it again.
	for p in "$run"/*.pid; do
		[ ! -s "$p" ] || kill -HUP "$(cat "$p")" 2>/dev/null || :
	done
}

conf_add() {
	conf_without_block > "$conf.new"
	block=
	for p in plaintext_login_networks webmail_hosts; do
		set_to=$("$here/postern" -c "$conf.new" config -h $p)
		if [ -z "$set_to" ]; then
			block="$block$p = 127.0.0.0/8 [::1]
"
		elif ! covers_loopback "$set_to"; then
			rm -f "$conf.new"
			fail "$conf: add 127.0.0.0/8 to $p, then run this again"
		fi
	done
	if [ -n "$block" ]; then
		[ -z "$(tail -c 1 "$conf.new")" ] || echo >> "$conf.new"
		printf '%s\n%s\n' "$MARK" "$block" >> "$conf.new"
	fi
	if cmp -s "$conf.new" "$conf"; then
		rm -f "$conf.new"
		say "kept     $conf"
		return
	fi
	conf_replace
}

conf_remove() {
	grep -qxF "$MARK" "$conf" || return 0
	conf_without_block > "$conf.new"
	conf_replace
}

# --- what mail programs read: Thunderbird's autoconfig. TLS from the start comes first. ---

autoconfig_server() { # TAG TYPE LIST PROFILE SOCKET
	at=$(listener "$3" "$4")
	[ -n "$at" ] || return 0
	cat <<-END
	    <$1 type="$2">
	      <hostname>$host</hostname>
	      <port>${at##*:}</port>
	      <socketType>$5</socketType>
	      <username>%EMAILADDRESS%</username>
	      <authentication>password-cleartext</authentication>
	    </$1>
	END
}

autoconfig() {
	echo '<?xml version="1.0" encoding="UTF-8"?>'
	echo '<clientConfig version="1.1">'
	echo "  <emailProvider id=\"$domain\">"
	for d in $domains; do echo "    <domain>$d</domain>"; done
	echo "    <displayName>Mail of $domain</displayName>"
	echo "    <displayShortName>$domain</displayShortName>"
	autoconfig_server incomingServer imap "$imap_lists" imaps SSL
	autoconfig_server incomingServer imap "$imap_lists" imap STARTTLS
	autoconfig_server incomingServer pop3 "$pop3_lists" pop3s SSL
	autoconfig_server incomingServer pop3 "$pop3_lists" pop3 STARTTLS
	autoconfig_server outgoingServer smtp "$smtp_lists" submissions SSL
	autoconfig_server outgoingServer smtp "$smtp_lists" submission STARTTLS
	echo '  </emailProvider>'
	echo "  <webMail><loginPage url=\"https://$host/\"/></webMail>"
	echo '</clientConfig>'
}

dns_hints() {
	say "; DNS records for the webmail and for mail programs; those of the server itself: postern setup --dns $domain"
	for d in $domains; do
		for n in mail webmail autoconfig autodiscover; do
			[ "$n.$d" = "$host" ] || say "$n.$d. IN CNAME $host."
		done
		say "_autodiscover._tcp.$d. IN SRV 0 1 443 $host."
	done
	say "; a public certificate for all of these names, once they lead here:"
	say ";   certbot certonly --webroot -w $state/acme -d $host$(for n in $names; do printf ' -d %s' "$n"; done)"
}

# --- the words ---

# What the templates need, from what read_conf found.
prepare() {
	domains=$(domain_list "$@")
	[ -n "$domains" ] || fail "mydomain, virtual_mailbox_domains: no domain is written there; name one"
	domain=$(echo "$domains" | head -n 1)
	names=$(for d in $domains; do for n in mail webmail autoconfig autodiscover; do [ "$n.$d" = "$host" ] || echo "$n.$d"; done; done | tr '\n' ' ')
	names=${names% }
	patterns=$(for n in "$host" $names; do printf "'^%s\$', " "$(echo "$n" | sed 's/\./[.]/g')"; done)
	port_imaps=$(listener "$imap_lists" imaps)
	port_imaps=${port_imaps##*:}
	port_pop3s=$(listener "$pop3_lists" pop3s)
	port_pop3s=${port_pop3s##*:}
	# What is uploaded grows by a third when it is sent. PHP holds a message several times.
	post=$((limit + 1048576))
	memory=$((134217728 + 6 * limit))
	# The key that encrypts passwords in the sessions' table lives as long as the installation.
	des_key=$(sed -n "s/^\$config\['des_key'\] = '\(.*\)';\$/\1/p" "$etc/config.inc.php" 2>/dev/null || :)
	[ -n "$des_key" ] || des_key=$(head -c 18 /dev/urandom | base64)
}

do_setup() {
	read_conf setup
	packages
	find_php
	web_user
	prepare "$@"
	directory 755 root:root "$etc"
	directory 755 root:root "$state"
	directory 755 root:root "$state/acme"
	directory 700 $WEB_USER:$WEB_USER "$state/data"
	directory 700 $WEB_USER:$WEB_USER "$state/data/temp"
	put 640 root:$WEB_USER "$etc/config.inc.php" template roundcube.php.in
	for f in defaults.inc.php mimetypes.php; do link "/etc/roundcube/$f" "$etc/$f"; done
	link "$share/postern_client" /var/lib/roundcube/plugins/postern_client
	put 644 root:root "$etc/config-v1.1.xml" autoconfig
	put 644 root:root "$etc/nginx-common.conf" template nginx-common.conf.in
	put 644 root:root "$fpm/pool.d/$SITE.conf" template fpm.conf.in
	put 644 root:root "/etc/nginx/sites-available/$SITE" template nginx.conf.in
	link "../sites-available/$SITE" "/etc/nginx/sites-enabled/$SITE"
	conf_add
	if ! said=$("/usr/sbin/php-fpm$version" -t 2>&1); then fail "php-fpm does not accept $fpm/pool.d/$SITE.conf: $said"; fi
	if ! said=$(nginx -t 2>&1); then
		rm -f "/etc/nginx/sites-enabled/$SITE"
		fail "nginx does not accept the site, which was not enabled: $said"
	fi
	# The tables, when Debian's Roundcube has become newer than they are; new ones are made at the first login.
	if [ -s "$state/data/roundcube.sqlite" ]; then
		setpriv --reuid=$WEB_USER --regid=$WEB_USER --clear-groups env ROUNDCUBE_CONFIG_DIR="$etc/" /usr/share/roundcube/bin/updatedb.sh --package=roundcube \
			--dir=/usr/share/roundcube/SQL >/dev/null || fail "Roundcube could not update its tables in $state/data"
	fi
	daemon "php$version-fpm"
	daemon nginx
	answers || fail "https://$host/ does not show the login page; see /var/log/nginx/error.log and /var/log/php$version-fpm.log"
	say "the webmail is at https://$host/"
	dns_hints
}

do_status() {
	read_conf status
	find_php 2>/dev/null
	n=0
	for f in "$etc/config.inc.php" "$fpm/pool.d/$SITE.conf" "/etc/nginx/sites-enabled/$SITE" /var/lib/roundcube/plugins/postern_client; do
		if [ -e "$f" ]; then
			say "there    $f"
		else
			say "missing  $f"
			n=1
		fi
	done
	if [ -S "$socket" ]; then say "runs     php-fpm"; else say "stopped  php-fpm"; n=1; fi
	if [ -s /run/nginx.pid ] && kill -0 "$(cat /run/nginx.pid)" 2>/dev/null; then say "runs     nginx"; else say "stopped  nginx"; n=1; fi
	return $n
}

do_remove() {
	read_conf remove
	for f in /etc/nginx/sites-enabled/$SITE /etc/nginx/sites-available/$SITE /etc/php/*/fpm/pool.d/$SITE.conf /var/lib/roundcube/plugins/postern_client; do
		[ -e "$f" ] || [ -L "$f" ] || continue
		rm -f "$f"
		say "removed  $f"
	done
	conf_remove
	[ ! -d "$etc" ] || say "removed  $etc"
	rm -rf "$etc"
	find_php
	[ ! -s "/run/php/php$version-fpm.pid" ] || daemon "php$version-fpm"
	[ ! -s /run/nginx.pid ] || daemon nginx
	if [ -n "$purge" ]; then
		rm -rf "$state"
		! getent passwd $WEB_USER >/dev/null || userdel $WEB_USER
		say "removed  $state, user $WEB_USER"
	else
		[ ! -d "$state" ] || say "kept     $state (address books and settings of users; --purge removes them)"
	fi
}

no_install=
purge=
word=
rest=
while [ $# -gt 0 ]; do
	case "$1" in
	-c)
		[ $# -gt 1 ] || { usage >&2; exit 2; }
		conf=$(readlink -f "$2")
		shift
		;;
	--no-install) no_install=1 ;;
	--purge) purge=1 ;;
	-h | --help) usage; exit 0 ;;
	-*) usage >&2; exit 2 ;;
	setup | status | remove) if [ -z "$word" ]; then word=$1; else rest="$rest $1"; fi ;;
	*[!A-Za-z0-9.-]*) fail "$1 is no domain" 2 ;;
	*) rest="$rest $1" ;;
	esac
	shift
done
case "$word" in
setup | remove) [ "$(id -u)" = 0 ] || fail "only root can do that" ;;
status) ;;
*) usage >&2; exit 2 ;;
esac
case "$word" in
setup) do_setup $rest ;;
status) do_status ;;
remove) do_remove ;;
esac
