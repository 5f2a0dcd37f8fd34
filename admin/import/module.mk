$(call program,postern-import,import_main.c import_open.c import_target.c import_report.c import_mbox.c import_tree.c import_maildir.c \
	import_server.c import_net.c import_imap.c import_pop3.c import_parse.c import_backup.c \
	admin/backup/backup_store.c admin/backup/backup_list.c,store map imap mail conf ipc io os log base)
$(call fuzzer,fuzz_import_reply,fuzz_import_reply.c import_parse.c,imap mail base)
