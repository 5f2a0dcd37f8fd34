IMAP_SESSION := client.c command.c resp.c folder.c sets.c opening.c names.c mboxes.c caps.c \
	cmd_basic.c cmd_select.c cmd_mailbox.c cmd_list.c cmd_status.c cmd_append.c held.c ext_catenate.c cmd_copy.c cmd_store.c cmd_expunge.c \
	cmd_fetch.c fetch_items.c emailid.c \
	cmd_search.c answers.c cmd_sort.c orders.c cmd_thread.c search_prepare.c search.c results.c ext_context.c ext_notify.c notify_new.c notify_names.c ext_multisearch.c \
	junk.c spaces.c guest.c ext_acl.c ext_binary.c link.c link_read.c named.c relay.c transfer.c transfer_target.c listing.c others.c watches.c \
	ext_id.c ext_idle.c ext_enable.c ext_qresync.c ext_compress.c ext_quota.c ext_metadata.c
$(call program,imapd,main.c login.c front_cmd.c caps.c,front map imap ipc conf io os log base)
$(call program,imap-session,session_main.c $(IMAP_SESSION),imap mail map store ipc conf io os log base)
$(call fuzzer,fuzz_imap_session,fuzz_session.c $(IMAP_SESSION),imap mail map store ipc conf io os log base test)
$(call fuzzer,fuzz_imap_link,fuzz_link.c $(IMAP_SESSION),imap mail map store ipc conf io os log base test)
$(call fuzzer,fuzz_imap_login,fuzz_login.c login.c front_cmd.c caps.c,front map imap ipc conf io os log base test)
$(call unittest,test_listing,test_listing.c $(IMAP_SESSION),imap mail map store ipc conf io os log base test)
$(call unittest,test_link,test_link.c $(IMAP_SESSION),imap mail map store ipc conf io os log base test)
$(call unittest,test_opening,test_opening.c $(IMAP_SESSION),imap mail map store ipc conf io os log base test)
